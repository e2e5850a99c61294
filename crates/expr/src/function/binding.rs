//! What the `bind` methods share: which argument types a function takes, with Flink's implicit casts.

use wiesel_core::{DataType, TypeKind};

use crate::cast::{common_type, is_implicit};
use crate::function::{Argument, FunctionError, Signature};

/// The type a parameter takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Param {
    /// CHAR or VARCHAR, as it is.
    Text,
    /// BINARY or VARBINARY, as it is.
    Binary,
    /// Any integer, cast to INT.
    Int,
    /// Any integer, cast to BIGINT.
    BigInt,
    /// Any number, cast to DOUBLE.
    Double,
    /// Any number, as it is.
    Number,
    /// BOOLEAN.
    Boolean,
}

impl Param {
    /// The type an argument is cast to; `None` when the parameter does not take it.
    pub(crate) fn accept(self, argument: &DataType) -> Option<DataType> {
        let kind = &argument.kind;
        let is_null = *kind == TypeKind::Null;
        let cast_to = |kind: TypeKind| Some(DataType { kind, nullable: argument.nullable || is_null });
        match self {
            Param::Text if kind.is_string() => Some(argument.clone()),
            Param::Text if is_null => cast_to(DataType::string().kind),
            Param::Binary if matches!(kind, TypeKind::Binary(_) | TypeKind::VarBinary(_)) => Some(argument.clone()),
            Param::Binary if is_null => cast_to(TypeKind::VarBinary(wiesel_core::types::MAX_LENGTH)),
            Param::Int if kind.is_integer() || is_null => cast_to(TypeKind::Int),
            Param::BigInt if kind.is_integer() || is_null => cast_to(TypeKind::BigInt),
            Param::Double if kind.is_numeric() || is_null => cast_to(TypeKind::Double),
            Param::Number if kind.is_numeric() => Some(argument.clone()),
            Param::Number if is_null => cast_to(TypeKind::Int),
            Param::Boolean if is_implicit(argument, &DataType::boolean()) => cast_to(TypeKind::Boolean),
            _ => None,
        }
    }
}

/// The error of a call that does not bind: `usage` is what the function takes.
pub(crate) fn takes(usage: &str) -> FunctionError {
    FunctionError { expected: usage.to_owned() }
}

/// The types of the arguments after implicit casts; the first `required` parameters must be given.
pub(crate) fn accept(
    args: &[Argument<'_>],
    params: &[Param],
    required: usize,
    usage: &str,
) -> Result<Vec<DataType>, FunctionError> {
    if args.len() < required || args.len() > params.len() {
        return Err(takes(usage));
    }
    let types = args.iter().zip(params).map(|(arg, param)| param.accept(arg.data_type));
    types.collect::<Option<Vec<_>>>().ok_or_else(|| takes(usage))
}

/// Whether NULL may come out because it may come in.
pub(crate) fn any_nullable(types: &[DataType]) -> bool {
    types.iter().any(|t| t.nullable)
}

/// A signature whose result is NULL exactly where an argument is.
pub(crate) fn strict(args: Vec<DataType>, returns: TypeKind) -> Signature {
    let nullable = any_nullable(&args);
    Signature { args, returns: DataType { kind: returns, nullable } }
}

/// A signature whose result may be NULL whatever the arguments are.
pub(crate) fn nullable(args: Vec<DataType>, returns: TypeKind) -> Signature {
    Signature { args, returns: DataType::new(returns) }
}

/// The type in which several values compare: their common type, and a time type when text meets one.
pub(crate) fn comparable_type(types: &[DataType]) -> Option<DataType> {
    if let Some(common) = common_type(types) {
        return Some(common);
    }
    let nullable = any_nullable(types);
    let others: Vec<DataType> = types.iter().filter(|t| !t.kind.is_string()).cloned().collect();
    let common = common_type(&others)?;
    let is_time =
        matches!(common.kind, TypeKind::Date | TypeKind::Time(_) | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_));
    is_time.then_some(DataType { kind: common.kind, nullable })
}

/// The types of the arguments when all are cast to one; texts stay as they are, because their column type is the same.
pub(crate) fn unified(types: &[DataType], common: &TypeKind) -> Vec<DataType> {
    types
        .iter()
        .map(|t| {
            if t.kind.is_string() && common.is_string() {
                return t.clone();
            }
            DataType { kind: common.clone(), nullable: t.nullable || t.kind == TypeKind::Null }
        })
        .collect()
}

/// The types of the arguments.
pub(crate) fn types_of(args: &[Argument<'_>]) -> Vec<DataType> {
    args.iter().map(|a| a.data_type.clone()).collect()
}

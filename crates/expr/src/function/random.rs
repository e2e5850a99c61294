//! RAND, RAND_INTEGER, UUID: the only functions that draw random numbers, and they draw them from the step's seed, so a run can be
//! repeated exactly. Every call in a query has its own sequence. With a literal seed the sequence is that of one java.util.Random; a seed that is a
//! column gives every row the first number of its seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::ArrayRef;
use arrow_array::builder::{Float64Builder, Int32Builder};
use arrow_array::types::Int32Type;
use wiesel_core::{DataType, Error, Result, TypeKind};

use crate::eval::EvalContext;
use crate::function::binding::{Param, accept, any_nullable};
use crate::function::{Argument, FunctionError, Operand, PreparedCall, ScalarFunction, Signature};
use crate::operand::TextBuilder;

/// RAND, RAND_INTEGER or UUID.
#[derive(Debug)]
pub(crate) struct Random {
    draw: Draw,
}

#[derive(Debug, Clone, Copy)]
enum Draw {
    Double,
    Integer,
    Uuid,
}

pub(crate) static RAND: Random = Random { draw: Draw::Double };
pub(crate) static RAND_INTEGER: Random = Random { draw: Draw::Integer };
pub(crate) static UUID: Random = Random { draw: Draw::Uuid };

/// Tells the calls of a process apart.
static CALL_COUNT: AtomicU64 = AtomicU64::new(0);

impl ScalarFunction for Random {
    fn name(&self) -> &'static str {
        match self.draw {
            Draw::Double => "RAND",
            Draw::Integer => "RAND_INTEGER",
            Draw::Uuid => "UUID",
        }
    }
    fn doc(&self) -> &'static str {
        match self.draw {
            Draw::Double => "RAND([seed]): a random DOUBLE, at least 0 and below 1",
            Draw::Integer => "RAND_INTEGER([seed,] bound): a random INT, at least 0 and below the bound",
            Draw::Uuid => "UUID(): a random UUID of version 4, as text of 36 characters",
        }
    }
    fn bind(&self, args: &[Argument<'_>]) -> std::result::Result<Signature, FunctionError> {
        let (types, returns) = match self.draw {
            Draw::Double => (accept(args, &[Param::Int], 0, "RAND takes ([seed INT])")?, TypeKind::Double),
            Draw::Integer => {
                (accept(args, &[Param::Int; 2], 1, "RAND_INTEGER takes ([seed INT,] bound INT)")?, TypeKind::Int)
            }
            Draw::Uuid => (accept(args, &[], 0, "UUID takes no argument")?, TypeKind::Char(36)),
        };
        let nullable = any_nullable(&types);
        Ok(Signature { args: types, returns: DataType { kind: returns, nullable } })
    }
    fn eval(&self, args: &[Operand], call: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
        Sequence::new(self.draw).eval(args, call, rows, context)
    }
    fn is_deterministic(&self) -> bool {
        false
    }
    fn prepare(&self) -> Option<Box<dyn PreparedCall>> {
        Some(Box::new(Sequence::new(self.draw)))
    }
}

#[derive(Debug)]
struct Sequence {
    draw: Draw,
    call: u64,
    drawn: u64,
    seeded: Option<(i32, JavaRandom)>,
}

impl Sequence {
    fn new(draw: Draw) -> Sequence {
        Sequence { draw, call: CALL_COUNT.fetch_add(1, Ordering::Relaxed), drawn: 0, seeded: None }
    }

    fn bits(&mut self, step_seed: u64) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        scramble(step_seed ^ scramble(self.call ^ scramble(self.drawn)))
    }

    /// Java's generator of a seed; it goes on from row to row as long as the seed stays.
    fn java(&mut self, seed: i32) -> &mut JavaRandom {
        match &mut self.seeded {
            Some((known, _)) if *known == seed => {}
            other => *other = Some((seed, JavaRandom::new(seed.into()))),
        }
        &mut self.seeded.as_mut().expect("it was set above").1
    }
}

impl PreparedCall for Sequence {
    fn eval(&mut self, args: &[Operand], _: &Signature, rows: usize, context: &EvalContext) -> Result<ArrayRef> {
        match self.draw {
            Draw::Double => {
                let seeds = args.first().map(Operand::numbers::<Int32Type>);
                let starts_anew = args.first().is_some_and(|seed| seed.constant().is_none());
                let mut out = Float64Builder::with_capacity(rows);
                for row in 0..rows {
                    out.append_option(match seeds.map(|s| s.get(row)) {
                        // 53 random bits are what a DOUBLE below 1 holds.
                        None => Some((self.bits(context.seed) >> 11) as f64 / (1_u64 << 53) as f64),
                        Some(Some(seed)) if starts_anew => Some(JavaRandom::new(seed.into()).next_double()),
                        Some(seed) => seed.map(|seed| self.java(seed).next_double()),
                    });
                }
                Ok(Arc::new(out.finish()))
            }
            Draw::Integer => self.integers(args, rows, context),
            Draw::Uuid => {
                let mut out = TextBuilder::new(rows, rows * 36);
                for _ in 0..rows {
                    let (high, low) = (self.bits(context.seed), self.bits(context.seed));
                    push_uuid(&mut out, high, low);
                    out.end();
                }
                out.finish()
            }
        }
    }
}

impl Sequence {
    fn integers(&mut self, args: &[Operand], rows: usize, context: &EvalContext) -> Result<ArrayRef> {
        let (seeds, bounds) = match args {
            [seed, bound] => (Some(seed.numbers::<Int32Type>()), bound.numbers::<Int32Type>()),
            _ => (None, args[0].numbers::<Int32Type>()),
        };
        let starts_anew = args.len() > 1 && args[0].constant().is_none();
        let mut out = Int32Builder::with_capacity(rows);
        for row in 0..rows {
            let (bound, seed) = (bounds.get(row), seeds.map(|s| s.get(row)));
            let (Some(bound), false) = (bound, seed == Some(None)) else {
                out.append_null();
                continue;
            };
            if bound <= 0 {
                return Err(Error::data(format!("RAND_INTEGER takes a bound above 0, and not {bound}")));
            }
            out.append_value(match seed.flatten() {
                Some(seed) if starts_anew => JavaRandom::new(seed.into()).next_below(bound),
                Some(seed) => self.java(seed).next_below(bound),
                None => ((u128::from(self.bits(context.seed)) * bound as u128) >> 64) as i32,
            });
        }
        Ok(Arc::new(out.finish()))
    }
}

fn push_uuid(out: &mut TextBuilder, high: u64, low: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // Version 4, variant 1.
    let high = high & 0xFFFF_FFFF_FFFF_0FFF | 0x4000;
    let low = low & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000;
    let bits = u128::from(high) << 64 | u128::from(low);
    for index in 0..32_u32 {
        if matches!(index, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        out.push(char::from(DIGITS[(bits >> (124 - 4 * index) & 15) as usize]));
    }
}

/// The finalizer of SplitMix64: every input bit moves every output bit.
fn scramble(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ bits >> 31
}

/// The documented linear congruential generator of java.util.Random.
#[derive(Debug)]
struct JavaRandom {
    state: u64,
}

impl JavaRandom {
    const MASK: u64 = (1 << 48) - 1;
    const FACTOR: u64 = 0x5DEE_CE66D;

    fn new(seed: i64) -> JavaRandom {
        JavaRandom { state: (seed as u64 ^ Self::FACTOR) & Self::MASK }
    }

    fn next(&mut self, bits: u32) -> i32 {
        self.state = self.state.wrapping_mul(Self::FACTOR).wrapping_add(0xB) & Self::MASK;
        (self.state >> (48 - bits)) as i32
    }

    fn next_double(&mut self) -> f64 {
        let (high, low) = (i64::from(self.next(26)), i64::from(self.next(27)));
        ((high << 27) + low) as f64 / (1_i64 << 53) as f64
    }

    fn next_below(&mut self, bound: i32) -> i32 {
        if bound & bound.wrapping_neg() == bound {
            return ((i64::from(bound) * i64::from(self.next(31))) >> 31) as i32;
        }
        loop {
            let bits = self.next(31);
            let value = bits % bound;
            // The last, incomplete stretch of the range would make small values likelier.
            if bits.checked_sub(value).and_then(|b| b.checked_add(bound - 1)).is_some() {
                return value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_numbers_are_javas() {
        let mut random = JavaRandom::new(42);
        assert_eq!(random.next_below(10), 0);
        assert_eq!(random.next_below(10), 3);
        assert_eq!(JavaRandom::new(42).next_double(), 0.727_563_680_032_868_1);
    }

    #[test]
    fn every_row_and_call_draws_its_own_number() {
        let context = crate::function::testing::context();
        let call = UUID.bind(&[]).expect("takes no argument");
        let draw = || {
            let mut sequence = Sequence::new(Draw::Uuid);
            let array = sequence.eval(&[], &call, 100, &context).expect("UUIDs");
            let texts = arrow_array::cast::AsArray::as_string::<i32>(&array).iter().flatten().map(str::to_owned);
            texts.collect::<Vec<_>>()
        };
        let mut all: Vec<String> = draw().into_iter().chain(draw()).collect();
        assert!(all.iter().all(|u| u.len() == 36 && u.as_bytes()[14] == b'4'));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 200);
        let call = RAND.bind(&[]).expect("takes no argument");
        let array = RAND.eval(&[], &call, 1000, &context).expect("numbers");
        let numbers = arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Float64Type>(&array);
        assert!(numbers.values().iter().all(|n| (0.0..1.0).contains(n)));
        let mean = numbers.values().iter().sum::<f64>() / 1000.0;
        assert!((0.4..0.6).contains(&mean), "{mean}");
    }
}

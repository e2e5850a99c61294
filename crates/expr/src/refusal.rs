//! Rows that a function refuses, told beside the result: the operator that evaluates leaves them out, and they become dead letters.
//!
//! Evaluation returns columns, and a refused row deep inside a CASE has no place in them. So the operator opens a list for the time of an
//! evaluation ([`collect`]), the function puts its rows into it ([`refuse`]), and where only some rows reach an operand the evaluator says
//! which (`among`). The list belongs to the thread, as the evaluation does; where nobody has opened one, [`refuse`] says so, and the
//! function fails instead.

use std::cell::RefCell;

/// A row that a function refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its place in the evaluated batch.
    pub row: usize,
    /// The function.
    pub function: String,
    /// Its arguments.
    pub arguments: String,
    /// Why.
    pub reason: String,
}

#[derive(Default)]
struct Open {
    refused: Vec<Refusal>,
    /// For each filter on the way to the operand that is evaluated, the rows that it let through.
    reached: Vec<Vec<usize>>,
}

thread_local! {
    static OPEN: RefCell<Option<Open>> = const { RefCell::new(None) };
}

/// Evaluates with a list open, and returns what was refused meanwhile, by row.
pub fn collect<T>(evaluate: impl FnOnce() -> T) -> (T, Vec<Refusal>) {
    let before = OPEN.replace(Some(Open::default()));
    let result = evaluate();
    let open = OPEN.replace(before).unwrap_or_default();
    let mut refused = open.refused;
    refused.sort_by_key(|refusal| refusal.row);
    (result, refused)
}

/// Puts a row of the operand that is evaluated into the open list; `false` when there is none.
pub fn refuse(mut refusal: Refusal) -> bool {
    OPEN.with_borrow_mut(|open| match open {
        None => false,
        Some(open) => {
            for rows in open.reached.iter().rev() {
                refusal.row = rows.get(refusal.row).copied().unwrap_or(refusal.row);
            }
            open.refused.push(refusal);
            true
        }
    })
}

/// Evaluates an operand that only these rows of the batch reach.
pub(crate) fn among<T>(rows: impl FnOnce() -> Vec<usize>, evaluate: impl FnOnce() -> T) -> T {
    let is_open = OPEN.with_borrow_mut(|open| match open {
        Some(open) => {
            open.reached.push(rows());
            true
        }
        None => false,
    });
    let result = evaluate();
    if is_open {
        OPEN.with_borrow_mut(|open| open.as_mut().and_then(|open| open.reached.pop()));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(row: usize) -> Refusal {
        Refusal { row, function: "f".to_owned(), arguments: String::new(), reason: String::new() }
    }

    #[test]
    fn a_row_behind_two_filters_is_found_in_the_batch() {
        let (taken, refused) = collect(|| {
            among(|| vec![1, 3, 5, 7], || among(|| vec![0, 2], || refuse(refusal(1)))) && refuse(refusal(2))
        });
        assert!(taken);
        assert_eq!(refused.iter().map(|r| r.row).collect::<Vec<_>>(), [2, 5]);
        assert!(!refuse(refusal(0)), "nobody collects");
    }
}

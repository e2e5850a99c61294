//! The automaton of a row pattern, and the partial matches of one key that run through it.
//!
//! ```text
//! A B+? C      start = A --take--> B1 --take--> B* --take--> B*     B* --proceed--> C --take--> final
//! ```
//! A row is offered to every partial match; each take whose variable fits gives a new partial match, and one that takes nothing is gone,
//! because rows must follow one another directly. A greedy quantifier is a guard: where its variable fits, the states behind it do not
//! take the row. Every row may begin a match, so the start state is always among the candidates.
//!
//! A match that is complete waits until no partial match that began earlier is left: the earlier one wins. Candidates are kept in a binary
//! heap by first row. Among candidates of one first row (`A+ B+ C` has many) the order of the heap decides which match is found, so the
//! heap moves its elements exactly as the one of Flink's runtime does.
//!
//! Rows of a candidate are a chain of links that candidates share; links that nobody reaches are dropped when their number has doubled.

use std::sync::Arc;

use wiesel_core::{Error, Result, Value};
use wiesel_plan::{AfterMatchSkip, PatternVariable};

/// Partial matches of one key beyond this end the job.
pub(super) const PARTIAL_MATCHES_MAX: usize = 1_000_000;

/// Links are looked through for the first time when there are so many.
const LINKS_BEFORE_SWEEP: usize = 64;

/// The state that a complete match is in.
const FINAL: u32 = 0;
/// No link: no row was taken yet.
pub(super) const NO_LINK: u32 = u32::MAX;
/// The first row of the start state, which has none: behind all rows.
const NO_ROW: u64 = u64::MAX;

/// A row that a pattern looks at.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) values: Vec<Value>,
    pub(super) time_ms: i64,
    /// Its number among the rows of the key.
    pub(super) sequence: u64,
}

/// A row taken for a variable, and the link before.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) previous: u32,
    pub(super) variable: u32,
    pub(super) row: Arc<Row>,
}

/// A partial or complete match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) state: u32,
    pub(super) link: u32,
    /// Its first row: number and time.
    pub(super) first: u64,
    pub(super) first_ms: i64,
}

/// The rows of a match in order, each with its variable.
pub(super) type MatchedRows = Vec<(u32, Arc<Row>)>;

/// What tells whether the row at hand fits a variable for a partial match.
pub(super) trait Conditions {
    /// `links` and `last` are the rows taken so far.
    fn fits(&mut self, variable: u32, links: &[Link], last: u32) -> Result<bool>;
}

#[derive(Debug, Clone)]
struct Edge {
    is_take: bool,
    target: u32,
    /// The variable that must fit.
    fits: Option<u32>,
    /// Variables that must not: those of a greedy quantifier before.
    fits_not: Vec<u32>,
}

#[derive(Debug)]
struct State {
    variable: u32,
    edges: Vec<Edge>,
}

/// The automaton.
#[derive(Debug)]
pub(super) struct Nfa {
    states: Vec<State>,
    start: u32,
    within_ms: Option<i64>,
    skip: AfterMatchSkip,
    names: Vec<String>,
}

impl Nfa {
    pub(super) fn new(variables: &[PatternVariable], within_ms: Option<i64>, skip: AfterMatchSkip) -> Result<Nfa> {
        let last = State { variable: u32::MAX, edges: Vec::new() };
        let names = variables.iter().map(|v| v.name.clone()).collect();
        let mut nfa = Nfa { states: vec![last], start: FINAL, within_ms, skip, names };
        for (number, variable) in variables.iter().enumerate().rev() {
            nfa.start = nfa.add(number_u32(number)?, variable, nfa.start)?;
        }
        if nfa.start == FINAL || variables.iter().all(|v| v.min == 0) {
            return Err(Error::internal("a row pattern can match no row"));
        }
        Ok(nfa)
    }

    /// The states of a variable in front of `next`; returns the first of them.
    fn add(&mut self, number: u32, variable: &PatternVariable, next: u32) -> Result<u32> {
        let is_optional = variable.min == 0;
        let least = variable.min.max(1);
        let (mut sink, optional_more) = match variable.max {
            None => {
                let looping = self.state(number)?;
                self.edge(looping, false, next);
                self.edge(looping, true, looping);
                if variable.is_greedy {
                    self.guard(next, number);
                }
                (looping, 0)
            }
            Some(most) => {
                let more =
                    most.checked_sub(least).ok_or_else(|| Error::internal("a quantifier that matches nothing"))?;
                if variable.is_greedy && more > 0 {
                    self.guard(next, number);
                }
                (next, more)
            }
        };
        for _ in 0..optional_more {
            sink = self.taking(number, sink, Some(next))?;
        }
        for _ in 1..least {
            sink = self.taking(number, sink, None)?;
        }
        self.taking(number, sink, is_optional.then_some(next))
    }

    fn taking(&mut self, number: u32, sink: u32, skip_to: Option<u32>) -> Result<u32> {
        let state = self.state(number)?;
        self.edge(state, true, sink);
        if let Some(next) = skip_to {
            self.edge(state, false, next);
        }
        Ok(state)
    }

    fn state(&mut self, variable: u32) -> Result<u32> {
        self.states.push(State { variable, edges: Vec::new() });
        number_u32(self.states.len() - 1)
    }

    fn edge(&mut self, state: u32, is_take: bool, target: u32) {
        let state = &mut self.states[state as usize];
        let fits = is_take.then_some(state.variable);
        state.edges.push(Edge { is_take, target, fits, fits_not: Vec::new() });
    }

    fn guard(&mut self, state: u32, variable: u32) {
        self.states[state as usize].edges.iter_mut().for_each(|edge| edge.fits_not.push(variable));
    }

    /// When the first partial match of a key runs out of time.
    pub(super) fn deadline_ms(&self, matches: &Matches) -> Option<i64> {
        let first = matches.partial.0.first().filter(|c| c.first != NO_ROW)?;
        Some(first.first_ms.saturating_add(self.within_ms?))
    }

    /// Offers a row to every partial match; complete matches that nobody waits for go to `found`.
    pub(super) fn process(
        &self,
        matches: &mut Matches,
        row: &Arc<Row>,
        conditions: &mut dyn Conditions,
        found: &mut Vec<MatchedRows>,
    ) -> Result<()> {
        if matches.partial.0.is_empty() {
            matches.partial.0.push(self.start_candidate());
        }
        let mut partial = Heap::default();
        let mut complete = Heap::default();
        let candidates = std::mem::take(&mut matches.partial.0);
        let mut asked = Asked { conditions, known: Vec::new() };
        for candidate in &candidates {
            asked.known.clear();
            self.step(*candidate, row, matches, &mut asked, &mut partial, &mut complete)?;
            if partial.0.len() > PARTIAL_MATCHES_MAX {
                return Err(Error::data(format!(
                    "MATCH_RECOGNIZE holds more than {PARTIAL_MATCHES_MAX} partial matches of one key"
                ))
                .hint("bound the pattern with WITHIN, or define its variables so that fewer rows begin a match"));
            }
        }
        matches.partial = partial;
        for candidate in complete.0 {
            matches.complete.add(candidate);
        }
        self.release(matches, found)?;
        matches.sweep();
        Ok(())
    }

    /// Drops partial matches that ran out of time; matches that waited for them go to `found`.
    pub(super) fn advance(&self, matches: &mut Matches, time_ms: i64, found: &mut Vec<MatchedRows>) -> Result<()> {
        let Some(within_ms) = self.within_ms else { return Ok(()) };
        let candidates = std::mem::take(&mut matches.partial.0);
        for candidate in candidates {
            let is_over = candidate.first != NO_ROW && time_ms.saturating_sub(candidate.first_ms) >= within_ms;
            if !is_over {
                matches.partial.add(candidate);
            }
        }
        self.release(matches, found)?;
        matches.sweep();
        Ok(())
    }

    fn start_candidate(&self) -> Candidate {
        Candidate { state: self.start, link: NO_LINK, first: NO_ROW, first_ms: i64::MAX }
    }

    fn step(
        &self,
        candidate: Candidate,
        row: &Arc<Row>,
        matches: &mut Matches,
        asked: &mut Asked<'_>,
        partial: &mut Heap,
        complete: &mut Heap,
    ) -> Result<()> {
        let mut takes: Vec<(u32, u32)> = Vec::new();
        let mut states = vec![candidate.state];
        while let Some(state) = states.pop() {
            let state = &self.states[state as usize];
            for edge in &state.edges {
                if !asked.allows(edge, &matches.links, candidate.link)? {
                } else if edge.is_take {
                    takes.push((state.variable, edge.target));
                } else {
                    states.push(edge.target);
                }
            }
        }
        let is_start = candidate.first == NO_ROW;
        for (variable, target) in takes {
            let link = matches.push(Link { previous: candidate.link, variable, row: row.clone() })?;
            let (first, first_ms) =
                if is_start { (row.sequence, row.time_ms) } else { (candidate.first, candidate.first_ms) };
            let next = Candidate { state: target, link, first, first_ms };
            if target == FINAL {
                complete.add(next);
                continue;
            }
            partial.add(next);
            if self.may_end(target, &matches.links, candidate.link, asked)? {
                complete.add(Candidate { state: FINAL, ..next });
            }
        }
        if is_start {
            partial.add(candidate);
        }
        Ok(())
    }

    /// Whether the match may be complete in a state, without another row.
    fn may_end(&self, state: u32, links: &[Link], last: u32, asked: &mut Asked<'_>) -> Result<bool> {
        let mut states = vec![state];
        while let Some(state) = states.pop() {
            for edge in &self.states[state as usize].edges {
                if edge.is_take || !asked.allows(edge, links, last)? {
                    continue;
                }
                if edge.target == FINAL {
                    return Ok(true);
                }
                states.push(edge.target);
            }
        }
        Ok(false)
    }

    /// Gives complete matches that began no later than every partial one, and skips.
    fn release(&self, matches: &mut Matches, found: &mut Vec<MatchedRows>) -> Result<()> {
        while let Some(earliest) = matches.complete.0.first().copied() {
            if matches.partial.0.first().is_some_and(|partial| earliest.first > partial.first) {
                break;
            }
            matches.complete.poll();
            let rows = matches.rows(earliest.link);
            // The first row that a candidate which stays may begin with.
            let from = self.skip_to(&rows)?;
            matches.partial.prune(from);
            matches.complete.prune(from);
            found.push(rows);
        }
        Ok(())
    }

    fn skip_to(&self, rows: &MatchedRows) -> Result<u64> {
        let behind = |row: Option<&(u32, Arc<Row>)>| row.map_or(0, |(_, row)| row.sequence + 1);
        let (variable, row) = match self.skip {
            AfterMatchSkip::PastLastRow => return Ok(behind(rows.last())),
            AfterMatchSkip::ToNextRow => return Ok(behind(rows.first())),
            AfterMatchSkip::ToFirst(v) => (v, rows.iter().find(|(variable, _)| *variable as usize == v)),
            AfterMatchSkip::ToLast(v) => (v, rows.iter().rev().find(|(variable, _)| *variable as usize == v)),
        };
        let name = self.names.get(variable).map_or("", String::as_str);
        let Some((_, row)) = row else {
            return Err(Error::data(format!("could not skip to `{name}`: the match has no row of it"))
                .hint("skip to a variable that every match has"));
        };
        if rows.first().is_some_and(|(_, first)| first.sequence == row.sequence) {
            return Err(Error::data(format!("could not skip to `{name}`: it is the first row of the match"))
                .hint("skip to a later variable, or use AFTER MATCH SKIP TO NEXT ROW"));
        }
        Ok(row.sequence)
    }
}

fn number_u32(number: usize) -> Result<u32> {
    u32::try_from(number).map_err(|_| Error::internal("a row pattern has too many states"))
}

/// Answers of the conditions for one candidate; each is asked once.
struct Asked<'a> {
    conditions: &'a mut dyn Conditions,
    known: Vec<(u32, bool)>,
}

impl Asked<'_> {
    fn allows(&mut self, edge: &Edge, links: &[Link], last: u32) -> Result<bool> {
        if let Some(variable) = edge.fits
            && !self.fits(variable, links, last)?
        {
            return Ok(false);
        }
        for variable in &edge.fits_not {
            if self.fits(*variable, links, last)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn fits(&mut self, variable: u32, links: &[Link], last: u32) -> Result<bool> {
        if let Some((_, answer)) = self.known.iter().find(|(known, _)| *known == variable) {
            return Ok(*answer);
        }
        let answer = self.conditions.fits(variable, links, last)?;
        self.known.push((variable, answer));
        Ok(answer)
    }
}

/// The candidates of one key.
#[derive(Debug, Default)]
pub(super) struct Matches {
    pub(super) links: Vec<Link>,
    /// Empty, or with the start state among them.
    pub(super) partial: Heap,
    pub(super) complete: Heap,
    pub(super) next_sequence: u64,
    pub(super) sweep_at: usize,
}

impl Matches {
    /// Whether nothing has begun.
    pub(super) fn is_idle(&self) -> bool {
        self.complete.0.is_empty() && self.partial.0.len() <= 1
    }

    fn push(&mut self, link: Link) -> Result<u32> {
        self.links.push(link);
        number_u32(self.links.len() - 1)
    }

    /// The rows of a chain, in order.
    pub(super) fn rows(&self, last: u32) -> MatchedRows {
        let mut rows: MatchedRows = chain(&self.links, last).map(|l| (l.variable, l.row.clone())).collect();
        rows.reverse();
        rows
    }

    fn sweep(&mut self) {
        if self.links.len() >= self.sweep_at.max(LINKS_BEFORE_SWEEP) {
            self.compact();
        }
    }

    /// Drops the links that no candidate reaches.
    pub(super) fn compact(&mut self) {
        let mut moved = vec![NO_LINK; self.links.len()];
        for candidate in self.partial.0.iter().chain(&self.complete.0) {
            let mut at = candidate.link;
            while let Some(place) = moved.get_mut(at as usize).filter(|place| **place == NO_LINK) {
                *place = 0;
                at = self.links[at as usize].previous;
            }
        }
        let mut kept = 0;
        for (place, moved) in moved.iter_mut().enumerate() {
            if *moved != NO_LINK {
                *moved = kept;
                self.links.swap(kept as usize, place);
                kept += 1;
            }
        }
        self.links.truncate(kept as usize);
        let place = |link: u32| moved.get(link as usize).copied().unwrap_or(NO_LINK);
        self.links.iter_mut().for_each(|link| link.previous = place(link.previous));
        for candidate in self.partial.0.iter_mut().chain(&mut self.complete.0) {
            candidate.link = place(candidate.link);
        }
        self.sweep_at = self.links.len() * 2;
        if self.links.capacity() > LINKS_BEFORE_SWEEP && self.links.capacity() > self.links.len() * 4 {
            self.links.shrink_to(self.sweep_at);
        }
    }
}

/// The links from the last back to the first.
pub(super) fn chain(links: &[Link], last: u32) -> impl Iterator<Item = &Link> {
    std::iter::successors(links.get(last as usize), |link| links.get(link.previous as usize))
}

/// A binary heap of candidates by first row; equal ones keep the places that sifting gives them.
#[derive(Debug, Default, Clone)]
pub(super) struct Heap(pub(super) Vec<Candidate>);

impl Heap {
    fn add(&mut self, candidate: Candidate) {
        let mut at = self.0.len();
        self.0.push(candidate);
        while at > 0 {
            let parent = (at - 1) / 2;
            if candidate.first >= self.0[parent].first {
                break;
            }
            self.0.swap(at, parent);
            at = parent;
        }
    }

    fn poll(&mut self) {
        if !self.0.is_empty() {
            self.0.swap_remove(0);
            self.sift_down(0);
        }
    }

    fn sift_down(&mut self, mut at: usize) {
        let length = self.0.len();
        while at < length / 2 {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let child = if right < length && self.0[left].first > self.0[right].first { right } else { left };
            if self.0[at].first <= self.0[child].first {
                break;
            }
            self.0.swap(at, child);
            at = child;
        }
    }

    /// Drops candidates that began before a row.
    fn prune(&mut self, from: u64) {
        let before = self.0.len();
        self.0.retain(|candidate| candidate.first >= from);
        if self.0.len() < before {
            for at in (0..self.0.len() / 2).rev() {
                self.sift_down(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A pattern, the rows, and the matches as (variable, row number).
    type Case<'a> = (Vec<PatternVariable>, &'a [u32], &'a [&'a [(u32, u64)]]);

    /// A row is a set of variables that it fits, as bits.
    struct Bits(u32);

    impl Conditions for Bits {
        fn fits(&mut self, variable: u32, _: &[Link], _: u32) -> Result<bool> {
            Ok(self.0 & (1 << variable) != 0)
        }
    }

    fn variable(name: &str, (min, max, is_greedy): (u32, Option<u32>, bool)) -> PatternVariable {
        PatternVariable { name: name.to_owned(), min, max, is_greedy, condition: None }
    }

    /// The matches as lists of (variable, row number).
    fn run(variables: &[PatternVariable], skip: AfterMatchSkip, rows: &[u32]) -> Vec<Vec<(u32, u64)>> {
        let nfa = Nfa::new(variables, None, skip).unwrap();
        let (mut matches, mut found) = (Matches::default(), Vec::new());
        for (sequence, bits) in (0_u64..).zip(rows) {
            let row = Arc::new(Row { values: Vec::new(), time_ms: 0, sequence });
            nfa.process(&mut matches, &row, &mut Bits(*bits), &mut found).unwrap();
        }
        found.into_iter().map(|rows| rows.into_iter().map(|(v, row)| (v, row.sequence)).collect()).collect()
    }

    /// Every way to lay the pattern over the rows from one row on, by trying all numbers of rows per variable.
    fn lay(
        variables: &[PatternVariable],
        from: usize,
        at: usize,
        rows: &[u32],
        taken: &mut Vec<(u32, u64)>,
        found: &mut Vec<Vec<(u32, u64)>>,
    ) {
        let Some(variable) = variables.get(from) else {
            found.push(taken.clone());
            return;
        };
        let fits = |row: usize| rows.get(row).is_some_and(|bits| bits & (1 << from) != 0);
        let length = taken.len();
        let mut count = 0;
        loop {
            if count >= variable.min {
                // Greedy with a free number of rows: the next row is no other variable's while it fits this one.
                let is_free = variable.is_greedy && variable.max != Some(variable.min) && variable.max != Some(1);
                let goes_on = is_free && fits(at + count as usize) && from + 1 < variables.len();
                if !goes_on {
                    lay(variables, from + 1, at + count as usize, rows, taken, found);
                }
            }
            if variable.max == Some(count) || !fits(at + count as usize) {
                break;
            }
            taken.push((u32::try_from(from).unwrap(), (at + count as usize) as u64));
            count += 1;
        }
        taken.truncate(length);
    }

    #[test]
    fn patterns_find_the_matches_that_flink_finds() {
        let (a, b, c) = (1, 2, 4);
        let one = |name| variable(name, (1, Some(1), true));
        let cases: [Case<'_>; 5] = [
            // A B C
            (vec![one("A"), one("B"), one("C")], &[a, a, b, c], &[&[(0, 1), (1, 2), (2, 3)]]),
            // A B+ C, greedy: a row that fits B is not C.
            (
                vec![one("A"), variable("B", (1, None, true)), one("C")],
                &[a, b, b | c, c],
                &[&[(0, 0), (1, 1), (1, 2), (2, 3)]],
            ),
            // A B+? C ends with the first C.
            (
                vec![one("A"), variable("B", (1, None, false)), one("C")],
                &[a, b, b | c, c],
                &[&[(0, 0), (1, 1), (2, 2)]],
            ),
            // A B*? may end at once.
            (vec![one("A"), variable("B", (0, None, false))], &[a, b], &[&[(0, 0)]]),
            // A B? C
            (
                vec![one("A"), variable("B", (0, Some(1), true)), one("C")],
                &[a, b, c, a, c],
                &[&[(0, 0), (1, 1), (2, 2)], &[(0, 3), (2, 4)]],
            ),
        ];
        for (variables, rows, expected) in cases {
            let found = run(&variables, AfterMatchSkip::PastLastRow, rows);
            assert_eq!(found, expected, "{variables:?}");
        }
    }

    #[test]
    fn a_long_loop_keeps_only_the_links_it_needs() {
        let variables = [variable("A", (1, Some(1), true)), variable("B", (1, Some(1), true))];
        let nfa = Nfa::new(&variables, None, AfterMatchSkip::PastLastRow).unwrap();
        let (mut matches, mut found) = (Matches::default(), Vec::new());
        for sequence in 0..10_000 {
            let row = Arc::new(Row { values: Vec::new(), time_ms: 0, sequence });
            nfa.process(&mut matches, &row, &mut Bits(1), &mut found).unwrap();
        }
        assert!(matches.links.len() <= 2 * LINKS_BEFORE_SWEEP && matches.partial.0.len() == 2);
    }

    #[test]
    fn skipping_to_the_first_row_of_the_match_is_an_error() {
        let variables = [variable("A", (1, Some(1), true)), variable("B", (0, Some(1), true))];
        for (skip, expected) in [
            (AfterMatchSkip::ToFirst(0), "could not skip to `A`: it is the first row of the match"),
            (AfterMatchSkip::ToLast(1), "could not skip to `B`: the match has no row of it"),
        ] {
            let nfa = Nfa::new(&variables, None, skip).unwrap();
            let row = Arc::new(Row { values: Vec::new(), time_ms: 0, sequence: 0 });
            let error = nfa.process(&mut Matches::default(), &row, &mut Bits(1), &mut Vec::new()).unwrap_err();
            assert_eq!(error.message(), expected);
        }
    }

    proptest! {
        /// Against all ways to lay the pattern: with SKIP TO NEXT ROW there is one match for each row that some way begins with, it is
        /// one of the shortest of these ways, and nothing else. With SKIP PAST LAST ROW the matches are these without overlaps.
        #[test]
        fn matches_are_the_shortest_ways_to_lay_the_pattern(
            quantifiers in prop::collection::vec(
                prop::sample::select(vec![
                    (1, Some(1), true), (1, None, true), (1, None, false), (0, None, false), (0, Some(1), true),
                    (2, Some(2), true), (2, None, true), (1, Some(3), false), (2, Some(3), true), (2, None, false),
                ]),
                1..4,
            ),
            rows in prop::collection::vec(0_u32..8, 0..12),
        ) {
            let mut variables: Vec<PatternVariable> =
                quantifiers.iter().zip(["A", "B", "C"]).map(|(q, name)| variable(name, *q)).collect();
            // The rules of the binder.
            let is_loose = |v: &PatternVariable| v.is_greedy && v.max != Some(v.min) && v.max != Some(1);
            prop_assume!(variables.iter().any(|v| v.min > 0));
            prop_assume!(!variables.windows(2).any(|pair| is_loose(&pair[0]) && pair[1].min == 0));
            if let Some(last) = variables.last_mut().filter(|v| is_loose(v)) {
                last.is_greedy = false;
            }
            let ways = |start: usize| {
                let mut found = Vec::new();
                lay(&variables, 0, start, &rows, &mut Vec::new(), &mut found);
                found
            };
            let next = run(&variables, AfterMatchSkip::ToNextRow, &rows);
            let mut begins: Vec<u64> = Vec::new();
            for found in &next {
                let first = found[0].1;
                begins.push(first);
                let all = ways(usize::try_from(first).unwrap());
                let shortest = all.iter().map(Vec::len).min();
                prop_assert!(all.contains(found), "{:?} is no way: {:?}", found, all);
                prop_assert_eq!(Some(found.len()), shortest);
            }
            let expected: Vec<u64> = (0..rows.len()).filter(|s| !ways(*s).is_empty()).map(|s| s as u64).collect();
            prop_assert_eq!(&begins, &expected);
            let past = run(&variables, AfterMatchSkip::PastLastRow, &rows);
            let (mut apart, mut behind) = (Vec::new(), 0);
            for found in next {
                if found[0].1 >= behind {
                    behind = found[found.len() - 1].1 + 1;
                    apart.push(found);
                }
            }
            prop_assert_eq!(past.len(), apart.len());
            for (past, apart) in past.iter().zip(&apart) {
                prop_assert_eq!((past[0].1, past.len()), (apart[0].1, apart.len()));
            }
        }
    }
}

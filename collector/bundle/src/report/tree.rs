//! The order of a process tree: parents before children, each with its depth. Pure. A host may
//! claim parents that form a loop, or itself: every process comes exactly once all the same.

use std::collections::{BTreeMap, HashSet};

/// Deepest level that is shown as such.
const DEEPEST: usize = 24;

/// Indexes and depths in the order of the tree, of processes given as (pid, parent). Children come
/// in the order of their ids.
pub fn order(processes: &[(Option<u64>, Option<u64>)]) -> Vec<(usize, usize)> {
    let known: HashSet<u64> = processes.iter().filter_map(|(pid, _)| *pid).collect();
    let mut children: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    let mut roots = Vec::new();
    for (at, (pid, parent)) in processes.iter().enumerate() {
        match parent {
            Some(parent) if known.contains(parent) && Some(*parent) != *pid => {
                children.entry(*parent).or_default().push(at);
            }
            _ => roots.push(at),
        }
    }
    let pid = |at: &usize| processes.get(*at).and_then(|(pid, _)| *pid);
    roots.sort_by_key(pid);
    children.values_mut().for_each(|list| list.sort_by_key(pid));
    let mut ordered = Vec::with_capacity(processes.len());
    let mut placed = vec![false; processes.len()];
    // After the roots whatever is left is in a loop or below one: each of them may begin a tree.
    let begins = roots.into_iter().chain(0..processes.len());
    for begin in begins {
        let mut waiting = vec![(begin, 0)];
        while let Some((at, depth)) = waiting.pop() {
            match placed.get_mut(at) {
                Some(placed) if !*placed => *placed = true,
                _ => continue,
            }
            ordered.push((at, depth.min(DEEPEST)));
            // A process id that stands twice gives its children once.
            let below = pid(&at).and_then(|pid| children.remove(&pid)).unwrap_or_default();
            waiting.extend(below.into_iter().rev().map(|child| (child, depth + 1)));
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pids(list: &[(u64, u64)]) -> Vec<(u64, usize)> {
        let list: Vec<_> = list.iter().map(|(pid, parent)| (Some(*pid), Some(*parent))).collect();
        order(&list).into_iter().map(|(at, depth)| (list[at].0.unwrap(), depth)).collect()
    }

    #[test]
    fn parents_first() {
        assert_eq!(
            pids(&[(30, 10), (1, 0), (10, 1), (20, 1), (31, 10), (5, 99)]),
            [(1, 0), (10, 1), (30, 2), (31, 2), (20, 1), (5, 0)]
        );
    }

    #[test]
    fn loops_end() {
        assert_eq!(pids(&[(1, 1), (2, 3), (3, 2), (4, 3)]).len(), 4);
        assert_eq!(order(&[(None, None), (Some(1), None), (Some(1), Some(1))]).len(), 3);
    }

    proptest! {
        #[test]
        fn each_exactly_once(list in proptest::collection::vec(
            (proptest::option::of(0u64..12), proptest::option::of(0u64..12)), 0..60)) {
            let mut seen: Vec<usize> = order(&list).into_iter().map(|(at, _)| at).collect();
            seen.sort();
            prop_assert_eq!(seen, (0..list.len()).collect::<Vec<_>>());
        }
    }
}

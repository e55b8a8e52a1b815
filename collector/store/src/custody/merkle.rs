//! The Merkle tree of RFC 6962, section 2: hashes, root, and the two proofs.
//!
//! Pure: knows neither files nor what an entry says.

use cleanroom_evidence::{Hasher, Sha256Digest};

/// The hash of an entry as a leaf.
pub fn leaf_hash(entry: &[u8]) -> Sha256Digest {
    let mut hasher = Hasher::default();
    hasher.update(&[0]);
    hasher.update(entry);
    hasher.finish()
}

/// The hash of a node over its two children.
pub fn node_hash(left: &Sha256Digest, right: &Sha256Digest) -> Sha256Digest {
    let mut hasher = Hasher::default();
    hasher.update(&[1]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    hasher.finish()
}

/// A growing tree: keeps only the roots of its perfect subtrees, at most 64 hashes.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    size: u64,
    /// Roots of the perfect subtrees, the largest (leftmost) first.
    peaks: Vec<Sha256Digest>,
}

impl Tree {
    /// Adds a leaf.
    pub fn push(&mut self, leaf: Sha256Digest) {
        let mut node = leaf;
        // As in a binary counter: each low 1 bit of the old size is a peak to merge with.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root; of an empty tree, the hash of nothing.
    pub fn root(&self) -> Sha256Digest {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => Sha256Digest::of(b""),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

/// The root over all leaves.
pub fn root(leaves: &[Sha256Digest]) -> Sha256Digest {
    let mut tree = Tree::default();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree.root()
}

/// Where a tree of more than one leaf splits: the largest power of two below its size.
fn split(size: usize) -> usize {
    1 << (usize::BITS - 1 - (size - 1).leading_zeros())
}

/// The proof that leaf `index` is in the tree over `leaves` (RFC 6962, 2.1.1), lowest first.
/// `None` when there is no such leaf.
pub fn inclusion_proof(mut leaves: &[Sha256Digest], mut index: usize) -> Option<Vec<Sha256Digest>> {
    if index >= leaves.len() {
        return None;
    }
    let mut proof = Vec::new();
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at_checked(split(leaves.len()))?;
        if index < left.len() {
            proof.push(root(right));
            leaves = left;
        } else {
            proof.push(root(left));
            index -= left.len();
            leaves = right;
        }
    }
    proof.reverse();
    Some(proof)
}

/// True when `proof` shows that `leaf` is at `index` in a tree of `size` leaves with this root
/// (RFC 9162, 2.1.3.2).
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Sha256Digest,
    proof: &[Sha256Digest],
    root: &Sha256Digest,
) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for step in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(step, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, step);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// The proof that the tree over the first `old` leaves is a prefix of the tree over all
/// (RFC 6962, 2.1.2). `None` unless `1 <= old <= leaves.len()`; empty when they are equal.
pub fn consistency_proof(leaves: &[Sha256Digest], old: usize) -> Option<Vec<Sha256Digest>> {
    if old == 0 || old > leaves.len() {
        return None;
    }
    let (mut rest, mut old, mut known) = (leaves, old, true);
    let mut proof = Vec::new();
    while old != rest.len() {
        let (left, right) = rest.split_at_checked(split(rest.len()))?;
        if old <= left.len() {
            proof.push(root(right));
            rest = left;
        } else {
            proof.push(root(left));
            old -= left.len();
            rest = right;
            known = false;
        }
    }
    if !known {
        proof.push(root(rest));
    }
    proof.reverse();
    Some(proof)
}

/// True when `proof` shows that the tree `(old_size, old_root)` is a prefix of
/// `(size, root)` (RFC 9162, 2.1.4.2).
pub fn verify_consistency(
    old_size: u64,
    old_root: &Sha256Digest,
    size: u64,
    root: &Sha256Digest,
    proof: &[Sha256Digest],
) -> bool {
    if old_size == 0 || old_size > size {
        return false;
    }
    if old_size == size {
        return proof.is_empty() && old_root == root;
    }
    let (mut node, mut last) = (old_size - 1, size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (first, steps) = match proof.split_first() {
        _ if old_size.is_power_of_two() => (*old_root, proof),
        Some((first, steps)) => (*first, steps),
        None => return false,
    };
    let (mut old_hash, mut new_hash) = (first, first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(step, &old_hash);
            new_hash = node_hash(step, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, step);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *root
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// MTH of RFC 6962, 2.1, as it is written there.
    fn defined(entries: &[Vec<u8>]) -> Sha256Digest {
        match entries {
            [] => Sha256Digest::of(b""),
            [one] => Sha256Digest::of(&[&[0], one.as_slice()].concat()),
            more => {
                let k = (1..).map(|n| 1 << n).take_while(|k| *k < more.len()).last().unwrap_or(1);
                let (left, right) = (defined(&more[..k]), defined(&more[k..]));
                let both = [&[1], left.as_bytes().as_slice(), right.as_bytes()].concat();
                Sha256Digest::of(&both)
            }
        }
    }

    fn flip(digest: &Sha256Digest) -> Sha256Digest {
        let mut bytes = *digest.as_bytes();
        bytes[7] ^= 1;
        Sha256Digest::from_bytes(bytes)
    }

    #[test]
    fn known_roots() {
        // The empty tree and the tree of one empty leaf, as Certificate Transparency tests them.
        assert_eq!(
            root(&[]).to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            root(&[leaf_hash(b"")]).to_string(),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }

    #[test]
    fn every_proof_of_every_size() {
        let entries: Vec<Vec<u8>> = (0..70u8).map(|n| vec![n; usize::from(n)]).collect();
        let leaves: Vec<_> = entries.iter().map(|e| leaf_hash(e)).collect();
        for size in 1..=leaves.len() {
            let (tree, n) = (&leaves[..size], size as u64);
            let top = root(tree);
            assert_eq!(top, defined(&entries[..size]));
            for (index, leaf) in tree.iter().enumerate() {
                let proof = inclusion_proof(tree, index).unwrap();
                let check = |i: usize, n, p: &[_]| verify_inclusion(i as u64, n, leaf, p, &top);
                assert!(check(index, n, &proof));
                assert!(!check(index + 1, n, &proof));
                assert!(!verify_inclusion(index as u64, n, &flip(leaf), &proof, &top));
                for at in 0..proof.len() {
                    let mut bad = proof.clone();
                    bad[at] = flip(&bad[at]);
                    assert!(!check(index, n, &bad));
                    assert!(!check(index, n, &proof[..at]));
                }
            }
            for old in 1..=size {
                let proof = consistency_proof(tree, old).unwrap();
                let before = root(&tree[..old]);
                assert!(verify_consistency(old as u64, &before, n, &top, &proof));
                assert!(!verify_consistency(old as u64, &flip(&before), n, &top, &proof));
                assert!(!verify_consistency(old as u64, &before, n, &flip(&top), &proof));
                for at in 0..proof.len() {
                    assert!(!verify_consistency(old as u64, &before, n, &top, &proof[..at]));
                }
            }
            assert!(inclusion_proof(tree, size).is_none());
            assert!(consistency_proof(tree, 0).is_none());
            assert!(consistency_proof(tree, size + 1).is_none());
        }
    }

    proptest! {
        #[test]
        fn is_the_definition(entries in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..40), 0..600)) {
            let mut tree = Tree::default();
            entries.iter().for_each(|e| tree.push(leaf_hash(e)));
            prop_assert_eq!(tree.root(), defined(&entries));
            prop_assert_eq!(tree.size(), entries.len() as u64);
        }

        #[test]
        fn verification_never_panics(
            index in any::<u64>(), size in any::<u64>(),
            proof in proptest::collection::vec(any::<[u8; 32]>(), 0..70),
        ) {
            let proof: Vec<_> = proof.into_iter().map(Sha256Digest::from_bytes).collect();
            let any = Sha256Digest::of(b"x");
            prop_assert!(!verify_inclusion(index, size, &any, &proof, &any) || proof.is_empty());
            verify_consistency(index, &any, size, &any, &proof);
        }
    }
}

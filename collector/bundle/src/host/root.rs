//! Which item stands under which name in `[root]/`: the last read of a path wins, and no name is
//! both a file or link and a folder (an extractor would fail there, or write through the link).
//! Pure: knows headers and seals, not bytes.

use super::names;
use crate::item::Item;
use cleanroom_evidence::{FileKind, FileMeta, ItemKind, ItemStatus};
use std::collections::BTreeMap;

/// The folder of the host's own files.
pub const ROOT: &str = "[root]/";

/// A host's files by member name (without [`ROOT`]).
#[derive(Debug, Default)]
pub struct Root {
    members: BTreeMap<Vec<u8>, usize>,
}

impl Root {
    /// Lays the items of one session out. The numbers are indexes into `items`.
    pub fn lay_out(items: &[Item]) -> Self {
        let mut members = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            if placeable(item).is_some() {
                members.insert(names::member(item.header.name.as_bytes()), index);
            }
        }
        let clashes: Vec<(Vec<u8>, usize)> = members
            .iter()
            .filter(|(_, index)| {
                items
                    .get(**index)
                    .and_then(placeable)
                    .is_some_and(|meta| meta.kind != FileKind::Directory)
            })
            .filter(|(name, _)| has_children(&members, name))
            .map(|(name, index)| (name.clone(), *index))
            .collect();
        for (name, index) in clashes {
            members.remove(&name);
            let mut other = [&name[..], b"~not-a-folder"].concat();
            while members.contains_key(&other) || has_children(&members, &other) {
                other.push(b'~');
            }
            members.insert(other, index);
        }
        Self { members }
    }

    /// Names and items, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.members.iter().map(|(name, index)| (name.as_slice(), *index))
    }

    /// The names by item.
    pub fn by_item(&self) -> BTreeMap<usize, &[u8]> {
        self.iter().map(|(name, index)| (index, name)).collect()
    }

    /// True when something stands at or under this name.
    pub fn holds(&self, name: &[u8]) -> bool {
        self.members.contains_key(name) || has_children(&self.members, name)
    }
}

fn has_children(members: &BTreeMap<Vec<u8>, usize>, name: &[u8]) -> bool {
    let folder = [name, b"/"].concat();
    members.range(folder.clone()..).next().is_some_and(|(next, _)| next.starts_with(&folder))
}

/// The metadata of an item that can stand in the tar as what it is. Pipes, sockets and devices
/// cannot: extracting must create none. Nor can a file of which not one byte could be read: an
/// empty file in its place would be a false statement.
pub fn placeable(item: &Item) -> Option<&FileMeta> {
    if item.header.kind != ItemKind::File {
        return None;
    }
    let meta = item.header.file.as_ref()?;
    let fits = match meta.kind {
        FileKind::Regular => item.seal.length_bytes > 0 || item.seal.status == ItemStatus::Whole,
        FileKind::Directory => true,
        FileKind::Symlink => link(meta).is_some(),
        FileKind::Fifo | FileKind::Socket | FileKind::Block | FileKind::Char => false,
    };
    fits.then_some(meta)
}

/// Where a link points, as a tar header holds it.
pub fn link(meta: &FileMeta) -> Option<Vec<u8>> {
    names::link_target(meta.link_target.as_ref()?.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::test::file;

    fn names(items: &[Item]) -> Vec<(String, usize)> {
        let root = Root::lay_out(items);
        root.iter().map(|(n, i)| (String::from_utf8_lossy(n).into_owned(), i)).collect()
    }

    #[test]
    fn the_last_read_wins_but_not_over_bytes_with_none() {
        let mut denied = file(3, b"/a", FileKind::Regular, b"");
        denied.seal.status = ItemStatus::Partial("open: EACCES".into());
        let items = [
            file(1, b"/a", FileKind::Regular, b"1"),
            file(2, b"//a", FileKind::Regular, b"22"),
            denied,
        ];
        assert_eq!(names(&items), [("a".to_owned(), 1)]);
    }

    #[test]
    fn a_file_or_link_that_is_also_a_folder_moves_aside() {
        let mut link = file(2, b"/l", FileKind::Symlink, b"");
        if let Some(meta) = &mut link.header.file {
            meta.link_target = Some("/tmp".into());
        }
        let items = [
            file(1, b"/a", FileKind::Regular, b"x"),
            link,
            file(3, b"/a/b", FileKind::Regular, b"y"),
            file(4, b"/l/evil", FileKind::Regular, b"z"),
            file(5, b"/a~not-a-folder", FileKind::Regular, b"w"),
            file(6, b"/d", FileKind::Directory, b""),
            file(7, b"/d/e", FileKind::Regular, b""),
            file(8, b"/p", FileKind::Fifo, b""),
        ];
        let got = names(&items);
        let want = [
            ("a/b", 2),
            ("a~not-a-folder", 4),
            ("a~not-a-folder~", 0),
            ("d", 5),
            ("d/e", 6),
            ("l/evil", 3),
            ("l~not-a-folder", 1),
        ];
        assert_eq!(got, want.map(|(n, i)| (n.to_owned(), i)));
    }

    #[test]
    fn nothing_stands_under_a_file_or_link_whatever_the_names() {
        let mut items = Vec::new();
        for (seq, name) in
            ["/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a/b~not-a-folder/x"].iter().enumerate()
        {
            items.push(file(seq as u64, name.as_bytes(), FileKind::Regular, b"x"));
        }
        let root = Root::lay_out(&items);
        assert_eq!(root.iter().count(), items.len());
        for (name, _) in root.iter() {
            assert!(!has_children(&root.members, name), "{}", String::from_utf8_lossy(name));
        }
    }
}

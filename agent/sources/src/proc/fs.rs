//! Ways to read files of `/proc` with few system calls, reused buffers and bounded memory.
//! Every read goes through a [`Dir`], so it stays with the process that was opened.

use super::fields::number;
use crate::Dir;
use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    ops::ControlFlow,
    os::fd::OwnedFd,
};

/// First size of a scratch buffer: most files of a process fit.
const FIRST_BYTES: usize = 8 * 1024;
/// Bytes of one line at most; what follows counts as a further line.
const LINE_BYTES: u64 = 64 * 1024;

/// A buffer that is used again and again.
#[derive(Debug, Default)]
pub struct Scratch(Vec<u8>);

impl Scratch {
    /// The text that the kernel shows in one go (`stat`, `status`, `io`, …), at most `limit` bytes:
    /// a read that does not fill the buffer is the last, which saves the one that says "end".
    pub fn shown(&mut self, dir: &Dir<'_>, name: &[u8], limit: usize) -> io::Result<&[u8]> {
        self.fill(&mut dir.open(name)?, limit, true)
    }

    /// The file up to its end, at most `limit` bytes.
    pub fn whole(&mut self, file: &mut File, limit: usize) -> io::Result<&[u8]> {
        self.fill(file, limit, false)
    }

    fn fill(&mut self, file: &mut File, limit: usize, one_go: bool) -> io::Result<&[u8]> {
        let mut filled = 0;
        loop {
            if self.0.len() <= filled {
                let size = (filled * 2).clamp(FIRST_BYTES, limit.max(FIRST_BYTES));
                self.0.resize(size, 0);
            }
            let end = self.0.len().min(limit);
            let space = self.0.get_mut(filled..end).unwrap_or_default();
            let asked = space.len();
            let read = match file.read(space) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            filled += read;
            if read == 0 || filled >= limit || (one_go && read < asked) {
                return Ok(self.0.get(..filled).unwrap_or_default());
            }
        }
    }
}

/// Calls `each` with every line, without its line end.
pub fn each_line(file: File, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    try_each_line(file, |line| {
        each(line);
        ControlFlow::<()>::Continue(())
    })
    .map(|_| ())
}

/// As [`each_line`], until `each` breaks off.
pub fn try_each_line<B>(
    file: File,
    mut each: impl FnMut(&[u8]) -> ControlFlow<B>,
) -> io::Result<ControlFlow<B>> {
    let mut reader = BufReader::with_capacity(LINE_BYTES as usize, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader).take(LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if let stop @ ControlFlow::Break(_) = each(text) {
            return Ok(stop);
        }
    }
}

/// Calls `each` with every name in the directory `name` of `dir`, in the kernel's order, without
/// `.` and `..`. Holds one name at a time: a process may have millions of open files.
pub fn each_name(
    dir: &Dir<'_>,
    name: &[u8],
    mut each: impl FnMut(&OwnedFd, &[u8]),
) -> io::Result<()> {
    let at = OwnedFd::from(dir.open(name)?);
    let mut names = nix::dir::Dir::from_fd(at.try_clone()?)?;
    for entry in names.iter() {
        let entry = entry?;
        match entry.file_name().to_bytes() {
            b"." | b".." => {}
            name => each(&at, name),
        }
    }
    Ok(())
}

/// The process ids of an open `/proc`, ascending.
pub fn pids(proc: &Dir<'_>) -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    each_name(proc, b".", |_, name| pids.extend(number::<u32>(name)))?;
    pids.sort_unstable();
    Ok(pids)
}

/// The inode in a link such as `socket:[1234]` or `net:[4026531840]`.
pub fn bracketed_inode(target: &[u8], kind: &[u8]) -> Option<u64> {
    let rest = target.strip_prefix(kind)?.strip_prefix(b":[")?;
    number(rest.strip_suffix(b"]")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn file_of(bytes: &[u8]) -> File {
        use std::io::Seek as _;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn scratch_grows_to_the_limit_and_is_reused() {
        let mut scratch = Scratch::default();
        let long = vec![b'x'; 100_000];
        assert_eq!(scratch.whole(&mut file_of(&long), 1 << 20).unwrap(), &long[..]);
        assert_eq!(scratch.whole(&mut file_of(&long), 70_000).unwrap().len(), 70_000);
        assert_eq!(scratch.whole(&mut file_of(b"short"), 1 << 20).unwrap(), b"short");
        assert_eq!(scratch.whole(&mut file_of(b"short"), 2).unwrap(), b"sh");
    }

    #[test]
    fn lines_are_bounded() {
        let mut text = vec![b'a'; 150_000];
        text.extend(b"\nb\n\nc");
        let mut lengths = Vec::new();
        each_line(file_of(&text), |line| lengths.push(line.len())).unwrap();
        assert_eq!(lengths, [65_536, 65_536, 18_928, 1, 0, 1]);
    }

    #[test]
    fn inodes_of_links() {
        assert_eq!(bracketed_inode(b"socket:[12]", b"socket"), Some(12));
        assert_eq!(bracketed_inode(b"socket:[12]x", b"socket"), None);
        assert_eq!(bracketed_inode(b"pipe:[12]", b"socket"), None);
    }

    #[test]
    fn our_own_process_is_listed() {
        let host = crate::Host::live().unwrap();
        let pids = pids(&host.dir(b"/proc").unwrap()).unwrap();
        assert!(pids.is_sorted() && pids.contains(&std::process::id()));
    }
}

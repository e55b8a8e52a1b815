//! The socket tables of one network namespace, read through a process that lives in it.

use super::owners::{Owner, Owners};
use crate::{
    Emitter, SinkClosed,
    proc::{
        fields::{is_gone, why},
        fs::{bracketed_inode, each_line, try_each_line},
        net::{FAMILIES, Family, Socket, other},
        view::View,
    },
};
use cleanroom_evidence::RawBytes;
use serde::Serialize;
use std::{collections::BTreeMap, fs::File, io, ops::ControlFlow};

/// Interface names remembered of one namespace at most.
const INTERFACES: usize = 65_536;
/// Bytes of a unix path at most: `sun_path` has 108.
const UNIX_PATH_BYTES: usize = 128;

/// One line of the set `sockets`. `path` is that of a unix socket; `table` is the file.
#[derive(Serialize)]
struct Record<'a> {
    table: String,
    netns: u64,
    family: Family,
    #[serde(flatten)]
    socket: &'a Socket,
    owners: Vec<Owner<'a>>,
    /// Only where the list is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    owners_total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<&'a RawBytes>,
}

/// The tables of a namespace, open: they stay readable when the process ends.
struct Tables {
    pid: u32,
    files: Vec<(Family, io::Result<File>)>,
    interfaces: BTreeMap<u32, RawBytes>,
}

/// Emits every socket of the namespace, asking the processes in turn until one still lives.
pub fn emit(
    proc: &View<'_>,
    namespace: u64,
    pids: &[u32],
    owners: &Owners,
    out: &mut Emitter<'_>,
) -> Result<(), SinkClosed> {
    let mut trouble = "all of its processes have ended".to_owned();
    for pid in pids {
        match open(proc, namespace, *pid) {
            Ok(Some(tables)) => return read(tables, namespace, owners, out),
            Ok(None) => {}
            Err(error) => trouble = why(&error),
        }
    }
    let subject = format!("net:[{namespace}]");
    out.gap("read sockets", subject.as_bytes(), &trouble);
    Ok(())
}

/// Opens all tables; `None` where the process has ended or is another by now.
fn open(proc: &View<'_>, namespace: u64, pid: u32) -> io::Result<Option<Tables>> {
    let gone = |error: &io::Error| is_gone(error);
    let dir = match proc.process(pid) {
        Err(error) if gone(&error) => return Ok(None),
        other => other?,
    };
    match dir.link_target(b"ns/net") {
        Ok(target) if bracketed_inode(&target, b"net") == Some(namespace) => {}
        Err(error) if !gone(&error) => return Err(error),
        _ => return Ok(None),
    }
    let table = |name: &str| dir.open(format!("net/{name}").as_bytes());
    let files = FAMILIES.map(|family| (family, table(family.file())));
    let mut interfaces = BTreeMap::new();
    let mut add = |found: Option<(u32, RawBytes)>| {
        if interfaces.len() < INTERFACES {
            interfaces.extend(found);
        }
    };
    // Names only: where they cannot be had, the number stands for the interface.
    let _ = table("igmp").and_then(|f| each_line(f, |line| add(other::igmp_interface(line))));
    let _ = table("if_inet6").and_then(|f| each_line(f, |line| add(other::inet6_interface(line))));
    // This one exists in every namespace. While it opens, the process lives and a table that did
    // not open is not there (IPv6 switched off, …).
    match table("dev") {
        Err(error) if gone(&error) => Ok(None),
        Err(error) => Err(error),
        Ok(_) => Ok(Some(Tables { pid, files: files.into(), interfaces })),
    }
}

fn read(
    tables: Tables,
    namespace: u64,
    owners: &Owners,
    out: &mut Emitter<'_>,
) -> Result<(), SinkClosed> {
    for (family, file) in tables.files {
        let table = format!("/proc/{}/net/{}", tables.pid, family.file());
        let file = match file {
            Ok(file) => file,
            Err(error) if is_gone(&error) => continue,
            Err(error) => {
                out.gap("open", table.as_bytes(), &why(&error));
                continue;
            }
        };
        let mut emit = |socket: &Socket| {
            let (list, total) = socket.inode.map(|inode| owners.of(inode)).unwrap_or_default();
            let cut = total > list.len() as u64;
            let record = Record {
                table: table.clone(),
                netns: namespace,
                family,
                socket,
                owners: list,
                owners_total: cut.then_some(total),
                interface: socket.interface_index.and_then(|index| tables.interfaces.get(&index)),
            };
            out.record("sockets", &record)
        };
        let result = sockets_in(file, family, &mut emit);
        if let Some(error) = result? {
            out.gap("read", table.as_bytes(), &why(&error));
        }
    }
    Ok(())
}

/// Calls `emit` with every socket; gives the read error, if any. The outer error is the sink's.
fn sockets_in(
    file: File,
    family: Family,
    emit: &mut dyn FnMut(&Socket) -> Result<(), SinkClosed>,
) -> Result<Option<io::Error>, SinkClosed> {
    let mut last: Option<Socket> = None;
    let ended = try_each_line(file, |line| {
        let Some(socket) = family.parse(line) else {
            continue_path(family, last.as_mut(), line);
            return ControlFlow::Continue(());
        };
        match last.replace(socket).as_ref().map(&mut *emit) {
            Some(Err(closed)) => ControlFlow::Break(closed),
            _ => ControlFlow::Continue(()),
        }
    });
    let error = match ended {
        Ok(ControlFlow::Break(closed)) => return Err(closed),
        Ok(ControlFlow::Continue(())) => None,
        Err(error) => Some(error),
    };
    last.as_ref().map(emit).transpose()?;
    Ok(error)
}

/// A unix path may hold line ends, which the kernel prints as they are.
fn continue_path(family: Family, last: Option<&mut Socket>, line: &[u8]) {
    if let (Family::Unix, Some(path)) = (family, last.and_then(|socket| socket.path.as_mut())) {
        let room = UNIX_PATH_BYTES.saturating_sub(path.0.len());
        path.0.extend(b"\n".iter().chain(line).take(room));
    }
}

//! Neighbours, routes and interfaces of the network namespace that the agent runs in.

use super::{
    netlink::{self, Table},
    rtnl::{self, Link, Neighbour, Route},
};
use crate::{Emitter, SinkClosed, proc::fields::why};
use cleanroom_evidence::RawBytes;
use serde::Serialize;
use std::collections::BTreeMap;

/// Addresses listed of one interface at most.
const ADDRESSES: usize = 4096;

/// A record that names its interface.
#[derive(Serialize)]
struct On<'a, T> {
    #[serde(flatten)]
    entry: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<&'a RawBytes>,
}

/// One line of the set `interfaces`.
#[derive(Serialize)]
struct Interface<'a> {
    #[serde(flatten)]
    link: &'a Link,
    addresses: &'a [String],
}

/// Emits the sets `neighbours`, `routes` and `interfaces`.
pub fn emit(out: &mut Emitter<'_>) -> Result<(), SinkClosed> {
    let mut links: BTreeMap<u32, Link> = BTreeMap::new();
    dump(Table::Links, out, |message| {
        links.extend(rtnl::link(message).map(|link| (link.index, link)));
    });
    let name = |index: u32| links.get(&index).map(|link| &link.name);

    let mut neighbours: Vec<Neighbour> = Vec::new();
    dump(Table::Neighbours, out, |message| {
        neighbours.extend(rtnl::neighbour(message));
    });
    for entry in &neighbours {
        let interface = name(entry.interface_index);
        out.record("neighbours", &On { entry, interface })?;
    }
    let mut routes: Vec<Route> = Vec::new();
    dump(Table::Routes, out, |message| {
        routes.extend(rtnl::routes(message));
    });
    for entry in &routes {
        let interface = entry.interface_index.and_then(name);
        out.record("routes", &On { entry, interface })?;
    }
    let mut addresses: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    dump(Table::Addresses, out, |message| {
        if let Some((index, address)) = rtnl::interface_address(message) {
            let list = addresses.entry(index).or_default();
            if list.len() < ADDRESSES {
                list.push(address);
            }
        }
    });
    for (index, link) in &links {
        let addresses = addresses.get(index).map(Vec::as_slice).unwrap_or_default();
        out.record("interfaces", &Interface { link, addresses })?;
    }
    Ok(())
}

fn dump(table: Table, out: &mut Emitter<'_>, each: impl FnMut(&rtnl::Message<'_>)) {
    if let Err(error) = netlink::dump(table, each) {
        let subject = format!("{table:?}").to_lowercase();
        out.gap("read over netlink", subject.as_bytes(), &why(&error));
    }
}

//! Sockets of the network with their owners; those between local processes are only counted.

use super::nothing;
use crate::report::{
    html::{Done, Html},
    scope::{Bounded, Ref, Scope, end_table, table},
};
use cleanroom_analysis::records::{
    Socket,
    lenient::{Number, Text},
};

/// Sockets that are shown.
const ROWS: usize = 3_000;
/// Owners of one socket that are shown.
const OWNERS: usize = 8;

/// Writes them.
pub fn write(scope: &Scope<'_>, html: &mut Html<'_>) -> Done {
    let mut listening = Bounded::new(ROWS);
    let mut connected = Bounded::new(ROWS);
    let mut others = Bounded::new(ROWS);
    let mut local = 0u64;
    let bad = scope.each("sockets", |at, socket: Socket| {
        match (socket.family.bytes(), socket.state.bytes()) {
            (b"unix" | b"netlink", _) => local += 1,
            (_, b"LISTEN") => listening.add(|| (at, socket)),
            (_, b"ESTABLISHED" | b"SYN_SENT" | b"SYN_RECV") => connected.add(|| (at, socket)),
            _ => others.add(|| (at, socket)),
        }
        Ok(())
    })?;
    let mut more = 0;
    let mut any = local > 0;
    for (title, found) in [
        ("<h4>Listening</h4>", listening),
        ("<h4>Connected</h4>", connected),
        ("<h4>Datagram, raw, packet and closing</h4>", others),
    ] {
        more += found.more;
        if !found.rows.is_empty() {
            any = true;
            html.raw(title)?;
            rows(scope, html, &found.rows)?;
        }
    }
    if !any {
        return nothing(html, "No sockets were captured.");
    }
    if local > 0 {
        html.raw("<p class=\"note\">")?;
        html.number(local)?;
        html.raw(" unix and netlink sockets in ")?;
        scope.file(html, "records/sockets.jsonl")?;
        html.raw("</p>\n")?;
    }
    scope.rest(html, "sockets", more, bad)
}

fn rows(scope: &Scope<'_>, html: &mut Html<'_>, sockets: &[(Ref, Socket)]) -> Done {
    table(
        html,
        &["Protocol", "State", "Local", "Remote", "Owner", "Uid", "Namespace", "Evidence"],
    )?;
    for (at, socket) in sockets {
        html.raw("<tr>")?;
        html.within("<td class=\"k\">", "</td>", |html| {
            html.bytes(socket.family.bytes(), 12)?;
            if !socket.protocol.is_empty() {
                html.raw(" ")?;
                html.bytes(socket.protocol.bytes(), 20)?;
            }
            Ok(())
        })?;
        html.within("<td class=\"k\">", "</td>", |html| html.bytes(socket.state.bytes(), 20))?;
        html.td(|html| address(html, &socket.local_address, socket.local_port))?;
        html.td(|html| address(html, &socket.remote_address, socket.remote_port))?;
        html.td(|html| owners(html, socket))?;
        html.within("<td class=\"k\">", "</td>", |html| id(html, socket.uid))?;
        html.within("<td class=\"k\">", "</td>", |html| id(html, socket.netns))?;
        scope.reference_cell(html, *at)?;
        html.raw("</tr>\n")?;
    }
    end_table(html)
}

fn owners(html: &mut Html<'_>, socket: &Socket) -> Done {
    let owners = socket.owners.items.iter().filter_map(|owner| owner.0.as_ref());
    for (number, owner) in owners.take(OWNERS).enumerate() {
        if number > 0 {
            html.raw(", ")?;
        }
        html.bytes(owner.comm.bytes(), 40)?;
        if let Some(pid) = owner.pid.0 {
            html.esc(&format!(" ({pid})"))?;
        }
    }
    match socket.owners.total.saturating_sub(OWNERS as u64) {
        _ if socket.owners.total == 0 => html.raw("<span class=\"soft\">none seen</span>"),
        0 => Ok(()),
        more => html.esc(&format!(" and {more} more")),
    }
}

fn address(html: &mut Html<'_>, address: &Text, port: Number) -> Done {
    let text = match (address.str(), port.0) {
        (Some(address), Some(port)) if address.contains(':') => format!("[{address}]:{port}"),
        (Some(address), Some(port)) => format!("{address}:{port}"),
        (Some(address), None) => address.to_owned(),
        (None, _) => String::new(),
    };
    html.code(text.as_bytes(), 80)
}

fn id(html: &mut Html<'_>, number: Number) -> Done {
    html.esc(&number.0.map(|number| number.to_string()).unwrap_or_default())
}

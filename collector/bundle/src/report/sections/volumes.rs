//! Volumes: identity, partitions, digests and what could not be read.

use super::{fact, nothing, row};
use crate::report::{
    html::{Done, Html},
    scope::{Ref, Scope, end_table, table},
};
use cleanroom_analysis::records::{Table, Volume};

/// Volumes that are shown.
const ROWS: u64 = 100;
/// Partitions and errors of one volume.
const EACH: usize = 128;

/// Writes them.
pub fn write(scope: &Scope<'_>, html: &mut Html<'_>) -> Done {
    let mut seen = 0u64;
    let bad = scope.each("volumes", |at, volume: Volume| {
        seen += 1;
        if seen <= ROWS { one(scope, html, at, &volume) } else { Ok(()) }
    })?;
    if seen == 0 {
        return nothing(html, "No volumes were captured.");
    }
    scope.rest(html, "volumes", seen.saturating_sub(ROWS), bad)
}

fn one(scope: &Scope<'_>, html: &mut Html<'_>, at: Ref, volume: &Volume) -> Done {
    html.within("<h4><code>", "</code></h4><dl>", |html| html.bytes(volume.path.bytes(), 200))?;
    if let Some(size) = volume.size_bytes.0 {
        row(html, "Size", |html| {
            html.size(size)?;
            html.esc(&format!(" ({size} bytes)"))
        })?;
    }
    fact(html, "Device", &volume.device)?;
    fact(html, "EBS volume", &volume.ebs_volume_id)?;
    fact(html, "Serial number", &volume.serial)?;
    row(html, "SHA-256", |html| match volume.hashed.yes() {
        true => html.code(volume.sha256.bytes(), 64),
        false => html.raw("<span class=\"soft\">not hashed: not asked for, or not readable</span>"),
    })?;
    if let (Some(blocks), Some(bytes)) = (volume.blocks.0, volume.block_bytes.0) {
        row(html, "Block digests", |html| {
            html.number(blocks)?;
            html.raw(" blocks of ")?;
            html.size(bytes)?;
            if let Some(item) = scope.item(volume.blocks_item.bytes()) {
                html.raw(" – ")?;
                scope.reference(html, Ref { seq: item.seq, line: None })?;
            }
            Ok(())
        })?;
    }
    if !volume.mounted_at.items.is_empty() {
        row(html, "Mounted at", |html| {
            for place in volume.mounted_at.items.iter().take(EACH) {
                html.code(place.bytes(), 200)?;
                html.raw(" ")?;
            }
            Ok(())
        })?;
    }
    let written = volume.written_meanwhile_bytes.0.unwrap_or(0);
    if written > 0 || volume.changed_meanwhile.yes() {
        row(html, "Changed meanwhile", |html| {
            html.mark("medium", "in use")?;
            html.raw("the digests are those of a moving target; written during the pass: ")?;
            html.size(written)
        })?;
    }
    errors(html, volume)?;
    row(html, "Evidence", |html| scope.reference(html, at))?;
    html.raw("</dl>\n")?;
    match &volume.partition_table.0 {
        Some(table) => partitions(html, table),
        None => Ok(()),
    }
}

fn errors(html: &mut Html<'_>, volume: &Volume) -> Done {
    let missing = volume.unreadable.items.iter().filter_map(|one| one.0.as_ref());
    for part in missing.take(EACH) {
        row(html, "Not readable", |html| {
            html.bytes(part.what.bytes(), 100)?;
            html.raw(": ")?;
            html.bytes(part.why.bytes(), 300)
        })?;
    }
    let total = volume.errors_total.0.unwrap_or(volume.errors.total);
    if total == 0 {
        return Ok(());
    }
    row(html, "Read errors", |html| {
        html.mark("medium", "partial")?;
        html.number(total)?;
        html.raw(" runs of sectors, filled with zeros: ")?;
        for fault in volume.errors.items.iter().filter_map(|one| one.0.as_ref()).take(20) {
            let (offset, length) = (fault.offset_bytes.0, fault.length_bytes.0);
            html.esc(&format!("{} bytes at {} (", length.unwrap_or(0), offset.unwrap_or(0)))?;
            html.bytes(fault.why.bytes(), 80)?;
            html.raw(") ")?;
        }
        Ok(())
    })
}

fn partitions(html: &mut Html<'_>, found: &Table) -> Done {
    html.raw("<p>Partition table: ")?;
    html.bytes(found.kind.bytes(), 12)?;
    if !found.disk_id.is_empty() {
        html.raw(", disk ")?;
        html.code(found.disk_id.bytes(), 60)?;
    }
    html.raw("</p>\n")?;
    for note in found.notes.items.iter().take(EACH) {
        html.within("<p class=\"note\">", "</p>", |html| html.bytes(note.bytes(), 300))?;
    }
    if found.partitions.items.is_empty() {
        return Ok(());
    }
    table(html, &["Number", "Type", "Name", "Starts at byte", "Size"])?;
    for part in found.partitions.items.iter().filter_map(|one| one.0.as_ref()).take(EACH) {
        html.raw("<tr>")?;
        html.td(|html| html.number(part.index.0.unwrap_or(0)))?;
        html.td(|html| html.bytes(part.kind.bytes(), 80))?;
        html.td(|html| html.bytes(part.name.bytes(), 80))?;
        html.td(|html| html.number(part.start_bytes.0.unwrap_or(0)))?;
        html.within("<td class=\"n\">", "</td>", |html| html.size(part.size_bytes.0.unwrap_or(0)))?;
        html.raw("</tr>\n")?;
    }
    end_table(html)
}

//! Tar as bytes: headers, the bundle's canonical writer and its strict reader. Knows nothing of
//! cases or bags, and never creates a file on disk.

pub mod header;
pub mod read;
pub mod write;

/// Bytes of one tar block.
pub const BLOCK: usize = 512;

/// Zero bytes that fill `size` up to whole blocks.
pub fn padding(size: u64) -> usize {
    // The remainder is below 512, so it fits.
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if over == 0 { 0 } else { BLOCK - over }
}

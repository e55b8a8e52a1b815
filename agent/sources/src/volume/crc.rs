//! CRC-32 as the GPT uses it (ISO 3309, the one of gzip). Never reads anything itself.

/// The CRC-32 of the pieces, one after the other.
pub(super) fn crc32(pieces: &[&[u8]]) -> u32 {
    let mut crc = flate2::Crc::new();
    for piece in pieces {
        crc.update(piece);
    }
    crc.sum()
}

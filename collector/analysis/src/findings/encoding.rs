//! Which encoding a run of characters is, and the bytes behind it. Pure.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// How bytes became characters of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 4648, 8, in either case.
    Hex,
    /// RFC 4648, 6, in either case, with or without padding.
    Base32,
    /// RFC 4648, 4 and 5, with or without padding.
    Base64,
}

impl Encoding {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hex => "hexadecimal",
            Self::Base32 => "base32",
            Self::Base64 => "base64",
        }
    }

    /// The encoding that characters look like: the alphabet fits, and they are spread over it as
    /// encoded data are and words are not.
    pub fn guess(text: &[u8]) -> Option<Self> {
        let all = |fits: fn(u8) -> bool| text.iter().all(|byte| fits(*byte));
        let share = |fits: fn(&u8) -> bool| {
            let count = text.iter().filter(|byte| fits(byte)).count();
            count as f64 / text.len().max(1) as f64
        };
        let (digits, upper, lower) = (
            share(u8::is_ascii_digit),
            share(u8::is_ascii_uppercase),
            share(u8::is_ascii_lowercase),
        );
        let bits = entropy(text);
        if all(|b| b.is_ascii_hexdigit()) && digits > 0.2 && digits < 0.95 && bits >= 3.0 {
            Some(Self::Hex)
        } else if all(|b| b.is_ascii_alphabetic() || (b'2'..=b'7').contains(&b) || b == b'=')
            && (upper == 0.0 || lower == 0.0)
            && (0.08..0.45).contains(&digits)
            && bits >= 4.0
        {
            Some(Self::Base32)
        } else if all(|b| b.is_ascii_alphanumeric() || b"+/-_=".contains(&b))
            && digits > 0.02
            && upper > 0.1
            && lower > 0.1
            && bits >= 4.5
        {
            Some(Self::Base64)
        } else {
            None
        }
    }

    /// The bytes; `None` where the characters are not of this encoding. A last character that is
    /// not enough for a byte is left out.
    pub fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Hex => {
                let nibble = |b: &u8| (*b as char).to_digit(16).and_then(|n| u8::try_from(n).ok());
                let (pairs, _) = text.as_chunks::<2>();
                pairs.iter().map(|[h, l]| Some(nibble(h)? << 4 | nibble(l)?)).collect()
            }
            Self::Base32 => base32(text),
            Self::Base64 => {
                let mut plain: Vec<u8> = text
                    .iter()
                    .filter(|byte| **byte != b'=')
                    .map(|byte| match byte {
                        b'-' => b'+',
                        b'_' => b'/',
                        other => *other,
                    })
                    .collect();
                if plain.len() % 4 == 1 {
                    plain.pop();
                }
                BASE64.decode(plain).ok()
            }
        }
    }
}

fn base32(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut held) = (Vec::with_capacity(text.len() * 5 / 8), 0u32, 0u32);
    for byte in text.iter().filter(|byte| **byte != b'=') {
        let value = match byte {
            b'a'..=b'z' => byte - b'a',
            b'A'..=b'Z' => byte - b'A',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return None,
        };
        held = (held << 5 | u32::from(value)) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(out)
}

/// Shannon entropy in bits per character.
pub fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in text {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let total = text.len() as f64;
    let part = |count: &u32| {
        let share = f64::from(*count) / total;
        -share * share.log2()
    };
    counts.iter().filter(|count| **count > 0).map(part).sum()
}

/// True where bytes are text, or a file of a kind that one would carry off.
pub fn is_readable(bytes: &[u8]) -> bool {
    const MAGIC: [&[u8]; 7] =
        [b"\x1f\x8b", b"PK\x03\x04", b"\x7fELF", b"BZh", b"\xfd7zXZ", b"Salted__", b"%PDF"];
    if bytes.is_empty() {
        return false;
    }
    if MAGIC.iter().any(|magic| bytes.starts_with(magic)) {
        return true;
    }
    let text = String::from_utf8_lossy(bytes);
    let plain = |c: &char| (!c.is_control() || c.is_whitespace()) && *c != '\u{fffd}';
    let readable = text.chars().filter(plain).count();
    // Random bytes are seldom letters; text in any script mostly is.
    readable * 100 >= text.chars().count() * 90
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn knows_encodings_and_words_apart() {
        let text =
            b"A sentence that somebody carries off, with 12 numbers and more than 60 letters.";
        let hex: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(Encoding::guess(hex.as_bytes()), Some(Encoding::Hex));
        assert_eq!(Encoding::guess(BASE64.encode(text).as_bytes()), Some(Encoding::Base64));
        let base32 = b"IEQHGZLOORSW4Y3FEB2GQYLUEBZW63LFMJXWI6JAMNQXE4TJMVZSA33GMYWCA53JORUCAMJS";
        assert_eq!(Encoding::guess(base32), Some(Encoding::Base32));
        assert_eq!(Encoding::Base32.decode(base32).unwrap()[..10], text[..10]);
        for words in
            ["wwwmailstaticimagesapicdnnewsshopblogdocshelpsupport", "ftp1ftp2ftp3mx1mx2", ""]
        {
            assert_eq!(Encoding::guess(words.as_bytes()), None, "{words}");
        }
    }

    #[test]
    fn readable() {
        assert!(is_readable("Grüße\n".as_bytes()) && is_readable(b"\x1f\x8b\x08\0\0"));
        assert!(!is_readable(&(0..=255).collect::<Vec<u8>>()) && !is_readable(b""));
    }

    proptest! {
        #[test]
        fn base64_and_hex_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = BASE64.encode(&bytes);
            prop_assert_eq!(Encoding::Base64.decode(text.as_bytes()), Some(bytes.clone()));
            let url = text.replace('+', "-").replace('/', "_");
            prop_assert_eq!(Encoding::Base64.decode(url.as_bytes()), Some(bytes.clone()));
            let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            prop_assert_eq!(Encoding::Hex.decode(hex.as_bytes()), Some(bytes));
        }
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Encoding::guess(&bytes);
            for encoding in [Encoding::Hex, Encoding::Base32, Encoding::Base64] {
                encoding.decode(&bytes);
            }
            is_readable(&bytes);
        }
    }
}

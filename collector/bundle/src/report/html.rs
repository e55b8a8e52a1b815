//! Writes HTML. Markup is text of this program (`&'static str`); everything else goes through
//! [`Html::esc`], so no byte of a case can become markup, an attribute or a control character.

use crate::BundleError;
use cleanroom_analysis::records::lenient::shown;
use cleanroom_evidence::{Timestamp, printable};
use std::io::Write;

/// What every writing step gives.
pub type Done = Result<(), BundleError>;

/// A page being written.
pub struct Html<'w> {
    out: &'w mut dyn Write,
}

impl<'w> Html<'w> {
    /// A page on a writer.
    pub fn new(out: &'w mut dyn Write) -> Self {
        Self { out }
    }

    /// Markup of this program.
    pub fn raw(&mut self, markup: &'static str) -> Done {
        Ok(self.out.write_all(markup.as_bytes())?)
    }

    /// Markup around something.
    pub fn within(
        &mut self,
        open: &'static str,
        close: &'static str,
        inner: impl FnOnce(&mut Self) -> Done,
    ) -> Done {
        self.raw(open)?;
        inner(self)?;
        self.raw(close)
    }

    /// Text that is safe on a screen already; whatever is not becomes so here.
    pub fn esc(&mut self, text: &str) -> Done {
        let mut plain = 0;
        for (at, c) in text.char_indices() {
            let entity = match c {
                '&' => "&amp;",
                '<' => "&lt;",
                '>' => "&gt;",
                '"' => "&quot;",
                '\'' => "&#39;",
                ' '..='~' => continue,
                _ => {
                    self.out.write_all(piece(text, plain, at))?;
                    let mut utf8 = [0u8; 4];
                    let safe = printable(c.encode_utf8(&mut utf8).as_bytes());
                    self.out.write_all(safe.as_bytes())?;
                    plain = at + c.len_utf8();
                    continue;
                }
            };
            self.out.write_all(piece(text, plain, at))?;
            self.out.write_all(entity.as_bytes())?;
            plain = at + c.len_utf8();
        }
        Ok(self.out.write_all(piece(text, plain, text.len()))?)
    }

    /// Bytes of the host, escaped and cut to about `characters`.
    pub fn bytes(&mut self, bytes: &[u8], characters: usize) -> Done {
        self.esc(&shown(bytes, characters))
    }

    /// The same as code.
    pub fn code(&mut self, bytes: &[u8], characters: usize) -> Done {
        self.within("<code>", "</code>", |html| html.bytes(bytes, characters))
    }

    /// A number with separators.
    pub fn number(&mut self, number: u64) -> Done {
        let digits = number.to_string();
        let mut out = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        self.esc(&out)
    }

    /// A size: in binary units, with the exact bytes where they differ.
    pub fn size(&mut self, bytes: u64) -> Done {
        const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
        if bytes < 1024 {
            return self.esc(&format!("{bytes} B"));
        }
        let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        let unit = UNITS.get(unit).copied().unwrap_or_default();
        self.raw("<span title=\"")?;
        self.esc(&format!("{bytes} bytes"))?;
        self.raw("\">")?;
        self.esc(&format!("{value:.1} {unit}"))?;
        self.raw("</span>")
    }

    /// A time to the second, in UTC.
    pub fn time(&mut self, time: Timestamp) -> Done {
        self.within("<span class=\"t\">", "</span>", |html| html.esc(&second(time)))
    }

    /// A link inside the bundle; its address is escaped again here.
    pub fn link(&mut self, address: &str, inner: impl FnOnce(&mut Self) -> Done) -> Done {
        self.raw("<a href=\"")?;
        for byte in address.bytes() {
            let plain = byte.is_ascii_alphanumeric() || b"/._-@=+#".contains(&byte);
            match plain {
                true => self.out.write_all(&[byte])?,
                false => write!(self.out, "%{byte:02X}")?,
            }
        }
        self.within("\">", "</a>", inner)
    }

    /// An attribute value, quoted.
    pub fn attribute(&mut self, name: &'static str, value: &str) -> Done {
        self.raw(" ")?;
        self.raw(name)?;
        self.raw("=\"")?;
        self.esc(value)?;
        self.raw("\"")
    }

    /// `<td>` around something.
    pub fn td(&mut self, inner: impl FnOnce(&mut Self) -> Done) -> Done {
        self.within("<td>", "</td>", inner)
    }

    /// A small mark; `kind` is its class.
    pub fn mark(&mut self, kind: &'static str, text: &str) -> Done {
        self.raw("<span class=\"mark ")?;
        self.raw(kind)?;
        self.within("\">", "</span> ", |html| html.esc(text))
    }
}

fn piece(text: &str, from: usize, to: usize) -> &[u8] {
    text.as_bytes().get(from..to).unwrap_or_default()
}

/// `2026-01-31 23:59:59`, in UTC; a time beyond the calendar as the record has it.
pub fn second(time: Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('.') {
        Some((second, _)) if !text.starts_with('@') => second.replacen('T', " ", 1),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Html<'_>) -> Done) -> String {
        let mut out = Vec::new();
        write(&mut Html::new(&mut out)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_of_a_name_is_markup() {
        let name = b"\"><script>alert(1)</script>\x1b[31m\xff\xe2\x80\xaetxt'";
        let html = written(|html| html.bytes(name, 100));
        assert_eq!(
            html,
            "&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[31m\\xff\\u{202e}txt&#39;"
        );
    }

    #[test]
    fn numbers_sizes_times_and_links() {
        assert_eq!(written(|html| html.number(1_234_567)), "1,234,567");
        assert_eq!(written(|html| html.number(12)), "12");
        assert_eq!(written(|html| html.size(1536)), "<span title=\"1536 bytes\">1.5 KiB</span>");
        assert_eq!(second(Timestamp::new(0, 5)), "1970-01-01 00:00:00");
        assert_eq!(second(Timestamp::new(i64::MAX, 0)), "@9223372036854775807.000000000");
        assert_eq!(
            written(|html| html.link("a/\"onclick=x b", |html| html.esc("x"))),
            "<a href=\"a/%22onclick=x%20b\">x</a>"
        );
    }

    proptest! {
        #[test]
        fn text_is_only_text(text in any::<String>()) {
            let html = written(|html| html.esc(&text));
            prop_assert!(!html.contains(['<', '>', '"', '\'']));
            prop_assert!(!html.chars().any(char::is_control));
            let back = html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"")
                .replace("&#39;", "'").replace("&amp;", "&");
            let shown: String = text.split('\\').map(|part| printable(part.as_bytes()))
                .collect::<Vec<_>>().join("\\");
            prop_assert_eq!(back, shown);
        }
    }
}

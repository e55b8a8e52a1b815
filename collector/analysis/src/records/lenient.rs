//! Columns of records that a hostile host may have written: any well-formed JSON value is taken,
//! one of another type counts as absent, lists are cut and counted. Never fails on a type, never
//! keeps more than the line itself holds.

use cleanroom_evidence::{Timestamp, printable, unescape};
use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer,
    },
};
use std::{fmt, marker::PhantomData};

/// Members of one list that are kept; the others are counted.
const LIST: usize = 4096;

/// Bytes of the host in a column, already unescaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(Option<Vec<u8>>);

impl Text {
    /// The bytes; empty where the column is absent.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    /// True where the column is absent or empty.
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// The bytes as UTF-8; `None` where they are none or absent.
    pub fn str(&self) -> Option<&str> {
        std::str::from_utf8(self.0.as_deref()?).ok()
    }

    /// The time that the column states.
    pub fn time(&self) -> Option<Timestamp> {
        self.str()?.parse().ok()
    }

    /// Safe for a screen and cut to about `characters`.
    pub fn shown(&self, characters: usize) -> String {
        shown(self.bytes(), characters)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Some(text.as_bytes().to_vec()))
    }
}

/// Bytes as safe text of about `characters` at most, with an ellipsis where it is cut.
pub fn shown(bytes: &[u8], characters: usize) -> String {
    let head = bytes.get(..bytes.len().min(characters.saturating_mul(4))).unwrap_or_default();
    let text = printable(head);
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None if head.len() < bytes.len() => format!("{text}…"),
        None => text,
    }
}

/// A number without a sign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub Option<u64>);

/// A truth value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flag(pub Option<bool>);

impl Flag {
    /// True only where the column says so.
    pub fn yes(self) -> bool {
        self.0 == Some(true)
    }
}

/// The first members of a list, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T> {
    /// The members that were kept.
    pub items: Vec<T>,
    /// Members in all.
    pub total: u64,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new(), total: 0 }
    }
}

/// An object inside a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part<T>(pub Option<T>);

/// What a column does with each JSON type; what it does not take is skipped.
trait Take: Default {
    fn text(_: &str) -> Self {
        Self::default()
    }
    fn number(_: u64) -> Self {
        Self::default()
    }
    fn flag(_: bool) -> Self {
        Self::default()
    }
    fn list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
    fn object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

impl Take for Text {
    fn text(text: &str) -> Self {
        Self(Some(unescape(text)))
    }
}

impl Take for Number {
    fn number(number: u64) -> Self {
        Self(Some(number))
    }
}

impl Take for Flag {
    fn flag(flag: bool) -> Self {
        Self(Some(flag))
    }
}

impl<T: DeserializeOwned> Take for List<T> {
    fn list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut kept = Self::default();
        while kept.items.len() < LIST {
            let Some(member) = list.next_element()? else { return Ok(kept) };
            kept.items.push(member);
            kept.total += 1;
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            kept.total += 1;
        }
        Ok(kept)
    }
}

impl<T: DeserializeOwned + Default> Take for Part<T> {
    fn object<'de, A: MapAccess<'de>>(object: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(object)).map(|part| Self(Some(part)))
    }
}

struct Any<T>(PhantomData<T>);

impl<'de, T: Take> Visitor<'de> for Any<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_bool<E>(self, flag: bool) -> Result<T, E> {
        Ok(T::flag(flag))
    }
    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(T::number(number))
    }
    fn visit_i64<E>(self, number: i64) -> Result<T, E> {
        Ok(u64::try_from(number).map(T::number).unwrap_or_default())
    }
    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::text(text))
    }
    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::list(list)
    }
    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<T, A::Error> {
        T::object(object)
    }
}

macro_rules! lenient {
    ($($name:ty $(; where $generic:ident: $bound:path)?),+) => {$(
        impl<'de $(, $generic: $bound)?> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Any::<Self>(PhantomData))
            }
        }
    )+};
}

/// An object that can be read and be absent.
pub trait Columns: DeserializeOwned + Default {}
impl<T: DeserializeOwned + Default> Columns for T {}

lenient!(Text, Number, Flag, List<T>; where T: DeserializeOwned, Part<T>; where T: Columns);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Row {
        text: Text,
        number: Number,
        flag: Flag,
        list: List<Text>,
        part: Part<Inner>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Inner {
        pid: Number,
    }

    #[test]
    fn wrong_types_are_absent_and_the_rest_stays() {
        for wrong in ["1", "-1", "1.5", "\"\\u0000\"", "true", "null", "[[{}],1]", "{\"a\":[]}"] {
            let line = format!(
                "{{\"text\":{wrong},\"number\":{wrong},\"flag\":{wrong},\"list\":{wrong},\
                 \"part\":{wrong},\"more\":{wrong}}}"
            );
            let row: Row = serde_json::from_str(&line).unwrap();
            assert!(row.list.total <= 2, "{line}");
        }
        let row: Row =
            serde_json::from_str(r#"{"number":"x","text":"a\\xffb","part":{"pid":7}}"#).unwrap();
        assert_eq!((row.number.0, row.text.bytes()), (None, &b"a\xffb"[..]));
        assert_eq!(row.part.0.unwrap().pid.0, Some(7));
    }

    #[test]
    fn lists_are_cut_and_counted() {
        let line = format!("{{\"list\":[{}\"x\"]}}", "\"y\",".repeat(100_000));
        let row: Row = serde_json::from_str(&line).unwrap();
        assert_eq!((row.list.items.len(), row.list.total), (LIST, 100_001));
    }

    #[test]
    fn shows_no_more_than_asked() {
        assert_eq!(shown(b"ab\x1b", 100), "ab\\x1b");
        assert_eq!(shown("é".repeat(50).as_bytes(), 10), format!("{}…", "é".repeat(10)));
    }

    proptest! {
        #[test]
        fn shown_is_bounded_and_clean(bytes in proptest::collection::vec(any::<u8>(), 0..300),
            room in 0usize..80) {
            let text = shown(&bytes, room);
            prop_assert!(text.chars().count() <= room + 1);
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}

//! Values of any type that serde can read, drawn at random from small domains: few numbers, ids, names and lists, so that
//! they collide, meet the edges, and are well formed most of the time. Shared by the tests of several packages.

use std::fmt;

use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, SeqAccess, VariantAccess,
    Visitor,
};

/// Why nothing was drawn: a type refused what it was offered. The next draw may fit.
#[derive(Debug)]
pub(crate) struct Unfit;

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was drawn does not fit")
    }
}

impl std::error::Error for Unfit {}

impl Error for Unfit {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// A stream of draws from a seed; the same on every machine (splitmix64).
pub(crate) struct Draw {
    state: u64,
    /// Draws bytes that are something in themselves.
    blob: fn(&mut Draw) -> Vec<u8>,
    /// What all bytes of an array are: ids are told apart by it.
    fill: Option<u8>,
    /// Ids in a list that is to ascend are above this one.
    above: Option<u8>,
}

const NAMES: &[&str] = &[
    "",
    "a",
    "ana",
    "bob",
    "ana\u{1b}[31m",
    "\u{202e}bob",
    "a name of thirty-two characters.",
    "lobby",
    "ff",
];
const EDGES: &[u64] = &[
    127,
    128,
    4096,
    (1 << 32) - 1,
    (1 << 53) - 1 - 4096,
    (1 << 53) - 1,
    1 << 53,
    u64::MAX - 1,
    u64::MAX,
];

impl Draw {
    pub(crate) fn new(seed: u64, blob: fn(&mut Draw) -> Vec<u8>) -> Self {
        Self {
            state: seed.wrapping_mul(0xd134_2543_de82_ef95),
            blob,
            fill: None,
            above: None,
        }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// A small number, now and then one at an edge.
    pub(crate) fn number(&mut self) -> u64 {
        match self.one_in(12) {
            true => EDGES[self.below(EDGES.len())],
            false => self.below(5) as u64,
        }
    }

    /// How long a list is: short, now and then not.
    pub(crate) fn length(&mut self) -> usize {
        match self.one_in(40) {
            true => self.below(40),
            false => self.below(4),
        }
    }

    /// Some value of the type, that it takes itself for well formed.
    pub(crate) fn value<T: DeserializeOwned>(&mut self) -> T {
        loop {
            (self.fill, self.above) = (None, None);
            if let Ok(value) = T::deserialize(&mut *self) {
                return value;
            }
        }
    }

    /// What a hostile or broken peer makes of bytes; `other` is something else that it has said.
    pub(crate) fn damage(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..1 + self.below(3) {
            let at = self.below(bytes.len() + 1);
            let end = at + self.below(bytes.len() - at + 1).min(24);
            match self.below(7) {
                0 => bytes.truncate(at),
                1 | 2 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                3 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                4 => drop(bytes.drain(at..end)),
                5 => {
                    let copy = bytes[at..end].to_vec();
                    drop(bytes.splice(at..at, copy));
                }
                _ => {
                    let from = self.below(other.len() + 1);
                    let to = from + self.below(other.len() - from + 1).min(24);
                    drop(bytes.splice(at..end, other[from..to].iter().copied()));
                }
            }
        }
    }

    fn byte(&mut self) -> u8 {
        self.fill.unwrap_or_else(|| [0, 1, 2, 3, 0xff][self.below(5)])
    }

    /// Signed and narrow types take what fits of it.
    fn clipped(&mut self, most: u64) -> u64 {
        let number = self.number();
        let number = if self.above.is_some() { number.max(1) } else { number };
        number.min(most)
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty, $most:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
            visitor.$visit(self.clipped($most) as $type)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Draw {
    type Error = Unfit;

    numbers! {
        deserialize_u16 visit_u16 u16, u64::from(u16::MAX);
        deserialize_u32 visit_u32 u32, u64::from(u32::MAX);
        deserialize_u64 visit_u64 u64, u64::MAX;
        deserialize_u128 visit_u128 u128, u64::MAX;
        deserialize_i8 visit_i8 i8, 127;
        deserialize_i16 visit_i16 i16, 32_767;
        deserialize_i32 visit_i32 i32, 0x7fff_ffff;
        deserialize_i64 visit_i64 i64, i64::MAX as u64;
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_u8(self.byte())
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_bool(self.one_in(2))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_char(['a', '\u{1b}', '\u{202e}'][self.below(3)])
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_str(NAMES[self.below(NAMES.len())])
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        let bytes = match self.one_in(8) {
            true => vec![self.byte(); self.length()],
            false => (self.blob)(self),
        };
        visitor.visit_byte_buf(bytes)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.one_in(2) {
            true => visitor.visit_none(),
            false => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        let left = self.length();
        let outer = self.above;
        if !self.one_in(8) {
            self.above = self.above.or(Some(0));
        }
        let value = visitor.visit_seq(Elements { draw: self, left });
        self.above = outer;
        value
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, Unfit> {
        // Arrays of bytes are ids, keys and the like: of those there are few.
        let outer = self.fill;
        if left >= 8 && outer.is_none() {
            let id = match &mut self.above {
                Some(above) => {
                    *above = above.saturating_add(1);
                    *above
                }
                None => self.byte(),
            };
            self.fill = Some(id);
        }
        let value = visitor.visit_seq(Elements { draw: self, left });
        self.fill = outer;
        value
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        self.deserialize_tuple(left, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_seq(Elements {
            draw: self,
            left: fields.len(),
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        let variant = self.below(variants.len()) as u32;
        visitor.visit_enum(Chosen { draw: self, variant })
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unfit> {
        unreachable!("no type on the wire asks what comes: all say what they expect")
    }

    serde::forward_to_deserialize_any! { f32 f64 i128 map identifier ignored_any }
}

struct Elements<'a> {
    draw: &'a mut Draw,
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Unfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Unfit> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        seed.deserialize(&mut *self.draw).map(Some)
    }
}

struct Chosen<'a> {
    draw: &'a mut Draw,
    variant: u32,
}

impl<'de> EnumAccess<'de> for Chosen<'_> {
    type Error = Unfit;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Unfit> {
        let variant: U32Deserializer<Unfit> = self.variant.into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> VariantAccess<'de> for Chosen<'_> {
    type Error = Unfit;

    fn unit_variant(self) -> Result<(), Unfit> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Unfit> {
        seed.deserialize(self.draw)
    }

    fn tuple_variant<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_seq(Elements { draw: self.draw, left })
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_seq(Elements {
            draw: self.draw,
            left: fields.len(),
        })
    }
}

//! What the data in an object is made of, as far as the types of two programs can be compared.
//!
//! It is written into the object's header by who makes it, and compared by who opens it: a handle
//! that names data of another type is refused, not read as something else.

use std::fmt;

/// A type of data, as a number that all processes of the family understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape(u64);

/// What sort of type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sort {
    /// Any plain data.
    Plain = 1,
    /// An integer without a sign.
    Unsigned = 2,
    /// An integer with a sign.
    Signed = 3,
    /// A float.
    Float = 4,
    /// A truth value.
    Bool = 5,
}

/// One number, not a row of them.
const SINGLE: u64 = 1 << 7;

impl Shape {
    /// Bytes, or what its kind alone says: nothing to compare.
    pub const NONE: Self = Self(0);

    /// One `T`.
    pub const fn one<T>(sort: Sort) -> Self {
        Self(Self::row::<T>(sort).0 | SINGLE)
    }

    /// A row of `T`s.
    pub const fn row<T>(sort: Sort) -> Self {
        let (size, align) = (size_of::<T>() as u64, align_of::<T>() as u64);
        assert!(size < 1 << 47 && align < 1 << 9);
        Self(size << 17 | align << 8 | sort as u64)
    }

    pub(super) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub(super) const fn word(self) -> u64 {
        self.0
    }
}

/// As in "it holds …".
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("bytes");
        }
        let (size, align) = (self.0 >> 17, self.0 >> 8 & 0x1ff);
        let how_many = if self.0 & SINGLE == 0 { "a row of" } else { "one" };
        let letter = match self.0 & 0x7f {
            2 => 'u',
            3 => 'i',
            4 => 'f',
            5 => return write!(f, "{how_many} bool"),
            _ => return write!(f, "data of {size} bytes aligned to {align}"),
        };
        write!(f, "{how_many} {letter}{}", size * 8)
    }
}

#[cfg(test)]
mod tests {
    use super::{Shape, Sort};

    #[test]
    fn a_shape_is_shown_as_the_type_that_it_is() {
        assert_eq!(Shape::one::<u64>(Sort::Unsigned).to_string(), "one u64");
        assert_eq!(Shape::row::<f32>(Sort::Float).to_string(), "a row of f32");
        assert_eq!(Shape::row::<bool>(Sort::Bool).to_string(), "a row of bool");
        let plain = Shape::one::<[u16; 5]>(Sort::Plain);
        assert_eq!(plain.to_string(), "data of 10 bytes aligned to 2");
        assert_eq!(Shape::NONE.to_string(), "bytes");
    }

    #[test]
    fn types_of_another_size_alignment_sort_or_number_have_another_shape() {
        let shapes = [
            Shape::NONE,
            Shape::one::<u64>(Sort::Plain),
            Shape::one::<[u32; 2]>(Sort::Plain),
            Shape::one::<[u32; 3]>(Sort::Plain),
            Shape::one::<u64>(Sort::Unsigned),
            Shape::row::<u64>(Sort::Unsigned),
            Shape::row::<i64>(Sort::Signed),
            Shape::row::<f64>(Sort::Float),
        ];
        for (idx, one) in shapes.iter().enumerate() {
            assert!(shapes[idx + 1..].iter().all(|other| other != one), "{one}");
            assert_eq!(Shape::from_word(one.word()), *one);
        }
    }
}

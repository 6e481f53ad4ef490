//! What is read from bytes that nobody vouches for: lists of no more than so many, figures that are figures.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A list of at most `MOST`.
///
/// # Errors
/// What the format says; and that there are more, before they are read.
pub fn list<'de, D, T, C, const MOST: usize>(deserializer: D) -> Result<C, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
    C: FromIterator<T>,
{
    struct AtMost<T, const MOST: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for AtMost<T, MOST> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MOST} of them")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            if items.size_hint().is_some_and(|count| count > MOST) {
                return Err(A::Error::custom("too many"));
            }
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                if list.len() == MOST {
                    return Err(A::Error::custom("too many"));
                }
                list.push(item);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(AtMost::<T, MOST>(PhantomData)).map(|list| list.into_iter().collect())
}

/// A map of at most `MOST`.
///
/// # Errors
/// As those of [`list`].
pub fn map<'de, D, K, V, C, const MOST: usize>(deserializer: D) -> Result<C, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de>,
    V: Deserialize<'de>,
    C: FromIterator<(K, V)>,
{
    struct AtMost<K, V, const MOST: usize>(PhantomData<(K, V)>);

    impl<'de, K: Deserialize<'de>, V: Deserialize<'de>, const MOST: usize> Visitor<'de> for AtMost<K, V, MOST> {
        type Value = Vec<(K, V)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MOST} of them")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_entry()? {
                if list.len() == MOST {
                    return Err(A::Error::custom("too many"));
                }
                list.push(item);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_map(AtMost::<K, V, MOST>(PhantomData)).map(|list| list.into_iter().collect())
}

/// Whether a figure is an amount: a number that is not negative and not out of all bounds.
pub fn is_amount(value: f64) -> bool {
    (0.0..=1e30).contains(&value)
}

//! Feature vectors in one block of memory.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A vector of another length than the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a vector of {found} features among vectors of {width}")]
pub struct WidthError {
    /// What the matrix holds.
    pub width: usize,
    /// What came.
    pub found: usize,
}

/// Whether vectors of `found` features fit among those of `width`.
pub(super) const fn same_width(width: usize, found: usize) -> Result<(), WidthError> {
    if width == found { Ok(()) } else { Err(WidthError { width, found }) }
}

/// A matrix of feature vectors, one a row. A value that is not known is NaN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vectors {
    width: usize,
    values: Vec<f64>,
}

impl Vectors {
    /// An empty matrix for vectors of `width` features; at least 1.
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self { width: width.max(1), values: Vec::new() }
    }

    /// One more row.
    ///
    /// # Errors
    /// When it is not as wide as the matrix.
    pub fn push(&mut self, row: &[f64]) -> Result<(), WidthError> {
        same_width(self.width, row.len())?;
        self.values.extend_from_slice(row);
        Ok(())
    }

    /// Features of each vector; at least 1.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// How many vectors.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The `index`-th vector, which is there.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f64] {
        &self.values[index * self.width..][..self.width]
    }

    /// All vectors in turn.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.width)
    }

    /// All values, row by row.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Those rows, in that order.
    #[must_use]
    pub(super) fn select(&self, rows: &[usize]) -> Self {
        Self { width: self.width, values: rows.iter().flat_map(|&row| self.row(row)).copied().collect() }
    }

    /// Each row through `change`.
    #[must_use]
    pub(super) fn map(mut self, mut change: impl FnMut(&mut [f64])) -> Self {
        self.values.chunks_exact_mut(self.width).for_each(&mut change);
        self
    }

    /// Whether it is what [`Vectors::push`] could have made, and holds numbers only: for what was read from elsewhere.
    pub(super) fn is_sound(&self, width: usize, most: usize) -> bool {
        self.width == width
            && self.values.len().is_multiple_of(width.max(1))
            && self.len() <= most
            && self.values.iter().all(|value| value.is_finite())
    }
}

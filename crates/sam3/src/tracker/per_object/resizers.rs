//! The sizes that the SAM 3 tracker converts masks between.

use crate::error::Result;
use crate::model_files::Weights;
use crate::ops::{Filter, Resizer};

/// Conversions between the sizes of masks.
pub(super) struct Resizers {
    /// From the SAM head's size to the image's.
    pub low_to_image: Resizer,
    /// The same without antialiasing.
    pub low_to_image_plain: Resizer,
    /// From a quarter of the image's size to the SAM head's.
    pub quarter_to_low: Resizer,
    /// From the SAM head's size to the memory encoder's.
    pub low_to_memory: Resizer,
    /// From the image's size to the memory encoder's.
    pub image_to_memory: Resizer,
}

impl Resizers {
    pub(super) fn new(grid: usize, image: usize, quarter: usize, w: &Weights) -> Result<Self> {
        let (low, memory) = (4 * grid, 16 * grid);
        let square = |from, to, filter| Resizer::square(from, to, filter, w.device());
        Ok(Self {
            low_to_image: square(low, image, Filter::Antialiased)?,
            low_to_image_plain: square(low, image, Filter::Bilinear)?,
            quarter_to_low: square(quarter, low, Filter::Antialiased)?,
            low_to_memory: square(low, memory, Filter::Antialiased)?,
            image_to_memory: square(image, memory, Filter::Antialiased)?,
        })
    }
}

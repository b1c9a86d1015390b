//! From a frame to a JPEG: cut out, scaled down, encoded.

use axum::http::StatusCode;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use jpeg_encoder::{ColorType, Encoder};
use video::Frame;

use crate::api_error::{ApiError, ApiResult};

/// JPEG quality, 1 to 100. Below 90, colour has half the resolution.
const QUALITY: u8 = 85;

/// A part of a frame, in its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crop {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Crop {
    /// Whether all of it is inside a frame of this size.
    pub(crate) fn is_inside(&self, width: u32, height: u32) -> bool {
        let fits = |start: u32, length: u32, end: u32| start.checked_add(length).is_some_and(|e| e <= end);
        fits(self.left, self.width, width) && fits(self.top, self.height, height)
    }
}

/// How a picture differs from its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The part of the frame; all of it by default. It must be inside.
    pub(crate) crop: Option<Crop>,
    /// Width of the picture at most. Pictures are never enlarged.
    pub(crate) max_width: Option<u32>,
    /// Width of the frame's pixels relative to their height, which the picture's pixels do not have: theirs are square.
    /// `(1, 1)` keeps the pixels of the frame.
    pub(crate) pixel_aspect: (u32, u32),
}

impl Shape {
    /// The complete frame as a player shows it, at most this wide.
    pub(crate) fn thumbnail(width: u32, pixel_aspect: (u32, u32)) -> Self {
        Self { crop: None, max_width: Some(width), pixel_aspect }
    }

    /// Width and height of the picture of a part of this size; at least one pixel each.
    fn size_of(&self, width: u32, height: u32) -> (u32, u32) {
        let (horizontal, vertical) = (f64::from(self.pixel_aspect.0), f64::from(self.pixel_aspect.1));
        let (wide, high) = (f64::from(width), f64::from(height));
        // Pixels are made square by removing some of them.
        let (wide, high) = match horizontal > vertical {
            true => (wide, high * vertical / horizontal),
            false => (wide * horizontal / vertical, high),
        };
        let scale = self.max_width.map_or(1.0, |max| (f64::from(max) / wide).min(1.0));
        let rounded = |length: f64| (length * scale).round().max(1.0) as u32;
        (rounded(wide), rounded(high))
    }
}

/// Encodes a frame, or a part of it.
pub(crate) fn encode(frame: &Frame, shape: &Shape) -> ApiResult<Vec<u8>> {
    let all = Crop { left: 0, top: 0, width: frame.width, height: frame.height };
    let part = shape.crop.unwrap_or(all);
    let (width, height) = shape.size_of(part.width, part.height);
    let too_large = |_| {
        let detail = format!("A JPEG cannot have {width}x{height} pixels; choose a width");
        ApiError::new(StatusCode::CONFLICT, detail)
    };
    let size = (u16::try_from(width).map_err(too_large)?, u16::try_from(height).map_err(too_large)?);
    let source = ImageRef::new(frame.width, frame.height, &frame.rgb, PixelType::U8x3);
    let source = source.map_err(ApiError::internal)?;
    let mut picture = Image::new(width, height, PixelType::U8x3);
    let [left, top, wide, high] = [part.left, part.top, part.width, part.height].map(f64::from);
    let options = ResizeOptions::new()
        .crop(left, top, wide, high)
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize(&source, &mut picture, &options).map_err(ApiError::internal)?;
    let mut jpeg = Vec::new();
    let encoder = Encoder::new(&mut jpeg, QUALITY);
    encoder.encode(picture.buffer(), size.0, size.1, ColorType::Rgb).map_err(ApiError::internal)?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_keep_their_shape_and_are_not_enlarged() {
        let shape = |max_width, pixel_aspect| Shape { crop: None, max_width, pixel_aspect };
        for (max_width, aspect, (width, height), want) in [
            (None, (1, 1), (1920, 1080), (1920, 1080)),
            (Some(320), (1, 1), (1920, 1080), (320, 180)),
            (Some(320), (1, 1), (200, 100), (200, 100)),
            // DV: 720x576 pixels are shown as 1024x576.
            (Some(360), (64, 45), (720, 576), (360, 203)),
            (Some(9999), (8, 9), (720, 480), (640, 480)),
            (Some(16), (1, 1), (4000, 2), (16, 1)),
        ] {
            assert_eq!(shape(max_width, aspect).size_of(width, height), want);
        }
    }

    #[test]
    fn crops_must_be_inside_the_frame() {
        let crop = |left, top, width, height| Crop { left, top, width, height };
        assert!(crop(0, 0, 64, 48).is_inside(64, 48) && crop(63, 47, 1, 1).is_inside(64, 48));
        for outside in [crop(1, 0, 64, 48), crop(0, 1, 64, 48), crop(u32::MAX, 0, 2, 1)] {
            assert!(!outside.is_inside(64, 48), "{outside:?}");
        }
    }
}

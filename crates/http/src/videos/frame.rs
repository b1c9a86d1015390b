//! `GET /api/videos/{video_id}/frames/{frame}.jpg`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use utoipa::IntoParams;
use video::Video;

use super::local_file::local_file;
use crate::api_error::{ApiError, ApiResult, ErrorBody, FieldError, ValidationBody};
use crate::app::AppState;
use crate::etag;
use crate::extract::fields::{Fields, FromFields};
use crate::extract::path::FramePath;
use crate::extract::query::Query;
use crate::images::jpeg::{Crop, Shape};

/// Which part of the frame, and its size.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FrameQuery {
    /// Width of the picture in pixels at most; it is never enlarged. Default: the frame's own.
    #[param(minimum = 16, maximum = 8192)]
    width: Option<u32>,
    /// A part of the frame in its pixels, as the boxes of detections are: `x,y,width,height`, integers. It must be inside the
    /// frame.
    #[param(value_type = Option<String>, pattern = r"^[0-9]+,[0-9]+,[0-9]+,[0-9]+$")]
    crop: Option<Crop>,
}

impl FromFields for FrameQuery {
    fn read(fields: &mut Fields) -> Self {
        fields.allow_signature();
        let msg = "Input should be x,y,width,height in whole pixels";
        Self {
            width: fields.pixels("width", 16..=8192),
            crop: fields.parsed("crop", parse_crop, ("string_pattern_mismatch", msg)),
        }
    }
}

fn parse_crop(text: &str) -> Option<Crop> {
    let mut numbers = text.split(',').map(|number| number.parse::<u32>().ok());
    let mut next = || numbers.next().flatten();
    let (left, top, width, height) = (next()?, next()?, next()?, next()?);
    let crop = Crop { left, top, width, height };
    (numbers.next().is_none() && width > 0 && height > 0).then_some(crop)
}

/// Show one frame of a video, as a JPEG.
///
/// It is exactly the frame with this number: the `frame_number` of detections, and the index of `timestamps`. Its pixels
/// are those in which the boxes of detections are given, unless it is scaled down. An `<img>` can load all frames of a video
/// without the token; see `frame-url`.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/frames/{frame}", operation_id = "get_frame", tag = "videos",
    params(FramePath, FrameQuery),
    responses(
        (status = 200, description = "The picture", body = [u8], content_type = "image/jpeg"),
        (status = 304, description = "The client has the current version"),
        (status = 404, description = "No such video or frame, or the file no longer exists", body = ErrorBody),
        (status = 409, description = "Only the bucket has the video, or it cannot be decoded", body = ErrorBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn frame(
    State(app): State<AppState>,
    path: FramePath,
    Query(query): Query<FrameQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let FramePath { video_id, frame } = path;
    let file = local_file(&app, video_id).await?;
    let video = app.images.open(&file).await?;
    check(&video, video_id, frame, query.crop)?;
    let shape = Shape { crop: query.crop, max_width: query.width, pixel_aspect: (1, 1) };
    let tag = format!("\"{}\"", file.key(&format!("frame {frame} {shape:?}")));
    etag::tagged_jpeg(&headers, &tag, app.images.frame(&file, &video, frame, shape)).await
}

/// Checks that the video has the frame and its part.
fn check(video: &Video, video_id: i64, frame: u64, crop: Option<Crop>) -> ApiResult<()> {
    let n_frames = video.n_frames();
    if frame >= n_frames {
        let detail =
            format!("Video {video_id} has {n_frames} frames, numbered from 0; there is no frame {frame}");
        return Err(ApiError::new(StatusCode::NOT_FOUND, detail));
    }
    let (width, height) = (video.width(), video.height());
    if crop.is_some_and(|crop| !crop.is_inside(width, height)) {
        let msg = format!("Input should be inside the frame, which has {width}x{height} pixels");
        return Err(ApiError::invalid(vec![FieldError::new("query", "crop", "value_error", msg)]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_are_four_whole_numbers() {
        let crop = Crop { left: 1, top: 2, width: 30, height: 40 };
        assert_eq!(parse_crop("1,2,30,40"), Some(crop));
        for wrong in
            ["", "1,2,30", "1,2,30,40,5", "1,2,0,40", "1,2,30,0", "-1,2,3,4", "1.5,2,3,4", "1, 2,3,4"]
        {
            assert_eq!(parse_crop(wrong), None, "{wrong}");
        }
    }
}

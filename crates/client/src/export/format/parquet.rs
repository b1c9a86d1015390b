//! Apache Parquet with the columns of the CSV; DuckDB, pandas and Polars open it directly. Row groups of 100,000
//! rows, compressed with Snappy, are written as they fill.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::spec::{Content, Spec};
use crate::export::detection::{Detections, ExportDetection};
use crate::export::info::ExportInfo;
use crate::failure::{Failure, Kind, Outcome};

pub(super) const SPEC: Spec = Spec {
    name: "parquet",
    extension: "parquet",
    media_type: "application/vnd.apache.parquet",
    content: Content::Binary(write),
    has_times: true,
};

/// Number of rows in a row group.
const ROWS_PER_GROUP: usize = 100_000;

const SCHEMA: &str = "message detections {
    OPTIONAL BYTE_ARRAY job_id (STRING);
    REQUIRED INT64 frame;
    OPTIONAL DOUBLE time_seconds;
    REQUIRED INT64 track_id;
    REQUIRED DOUBLE x;
    REQUIRED DOUBLE y;
    REQUIRED DOUBLE width;
    REQUIRED DOUBLE height;
    REQUIRED DOUBLE confidence;
}";

fn write(
    out: &mut (dyn Write + Send),
    info: &ExportInfo,
    detections: &mut Detections<'_>,
    _scratch: &Path,
) -> Outcome<()> {
    let mut writer = start(out).map_err(failed)?;
    let mut rows = Vec::with_capacity(ROWS_PER_GROUP);
    for detection in detections {
        rows.push(detection?);
        if rows.len() == ROWS_PER_GROUP {
            write_group(&mut writer, info, &rows).map_err(failed)?;
            rows.clear();
        }
    }
    if !rows.is_empty() {
        write_group(&mut writer, info, &rows).map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    Ok(())
}

fn failed(error: ParquetError) -> Failure {
    Failure::new(Kind::Failed, error)
}

fn start<W: Write + Send>(out: W) -> Result<SerializedFileWriter<W>> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(format!("courtside {}", env!("CARGO_PKG_VERSION")))
        .build();
    SerializedFileWriter::new(out, Arc::new(parse_message_type(SCHEMA)?), Arc::new(properties))
}

/// Writes one row group, column by column in the order of the schema.
fn write_group<W: Write + Send>(
    writer: &mut SerializedFileWriter<W>,
    info: &ExportInfo,
    rows: &[ExportDetection],
) -> Result<()> {
    let mut group = writer.next_row_group()?;
    let job_id = info.job_id.as_deref().map(ByteArray::from);
    optional::<ByteArrayType, _>(&mut group, rows, |_| job_id.clone())?;
    required::<Int64Type, _>(&mut group, rows, |d| d.frame)?;
    optional::<DoubleType, _>(&mut group, rows, |d| info.time_seconds(d.frame))?;
    required::<Int64Type, _>(&mut group, rows, |d| d.track_id)?;
    for i in 0..4 {
        required::<DoubleType, _>(&mut group, rows, |d| d.bbox[i])?;
    }
    required::<DoubleType, _>(&mut group, rows, |d| d.confidence)?;
    group.close()?;
    Ok(())
}

fn required<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[ExportDetection],
    value: impl Fn(&ExportDetection) -> T::T,
) -> Result<()> {
    let values: Vec<T::T> = rows.iter().map(value).collect();
    write_column::<T, W>(group, &values, None)
}

fn optional<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[ExportDetection],
    value: impl Fn(&ExportDetection) -> Option<T::T>,
) -> Result<()> {
    let cells: Vec<Option<T::T>> = rows.iter().map(value).collect();
    let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
    let values: Vec<T::T> = cells.into_iter().flatten().collect();
    write_column::<T, W>(group, &values, Some(&levels))
}

/// Writes the next column. `levels` has 1 for each row with a value and 0 for each without.
fn write_column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<()> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("the schema has fewer columns than the rows".to_owned()));
    };
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}

//! `courtside model`.

use std::fmt;
use std::path::PathBuf;

use clap::Subcommand;
use sam3::{Model, VideoConfig};
use serde::Serialize;

use client::failure::Outcome;
use client::terminal::{counted, notify};
use worker::failure::EngineResult;
use worker::model_copy::{CopiedModel, CopiedWeights, copy};
use worker::model_folder;

/// Find, download or check the SAM3 model
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check a model folder
    ///
    /// Reads the configuration, the tokenizer, and the name and shape of every tensor. Does not run the model.
    Check {
        /// Model folder [default: the folder that `courtside model path` prints]
        folder: Option<PathBuf>,
    },
    /// Copy the model to a folder of its own, and check the copy
    ///
    /// For an image or another machine: links are followed, and only the files that are needed are copied. The folder
    /// appears when it is complete.
    Copy {
        /// Folder to create
        folder: PathBuf,
        /// Model folder to copy [default: the folder that `courtside model path` prints]
        #[arg(long, value_name = "DIR")]
        model: Option<PathBuf>,
        /// Number type of the weights. bf16 has half the size, and the same results on a GPU
        #[arg(long, value_name = "TYPE", default_value = "as-is")]
        dtype: Dtype,
    },
    /// Print the folder of the model, and download the model if necessary
    Path,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Dtype {
    /// As in the model
    AsIs,
    /// bfloat16
    Bf16,
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        match self.action {
            Action::Check { folder } => {
                let folder = model_folder::find(folder.as_deref())?;
                let config = Model::check(&folder).or_failure()?;
                super::print(&Report::new(folder, &config), json)
            }
            Action::Copy { folder, model, dtype } => {
                let from = model_folder::find(model.as_deref())?;
                let weights = match dtype {
                    Dtype::AsIs => CopiedWeights::Unchanged,
                    Dtype::Bf16 => CopiedWeights::Bf16,
                };
                let CopiedModel { files, size_bytes } =
                    copy(&from, &folder, weights, &|name| notify(format!("copying {name}")))?;
                super::print(&Copied { from, folder, files, size_bytes }, json)
            }
            Action::Path => super::print(&ModelPath { folder: model_folder::find(None)? }, json),
        }
    }
}

/// Key figures of a model that passed the check.
#[derive(Debug, Serialize)]
struct Report {
    folder: PathBuf,
    ok: bool,
    image_size: usize,
    vision_layers: usize,
    queries: usize,
    low_res_mask_size: usize,
}

impl Report {
    fn new(folder: PathBuf, config: &VideoConfig) -> Self {
        let detector = &config.detector_config;
        Self {
            folder,
            ok: true,
            image_size: config.image_size(),
            vision_layers: detector.vision_config.backbone_config.num_hidden_layers,
            queries: detector.detr_decoder_config.num_queries,
            low_res_mask_size: config.low_res_mask_size,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: ok", self.folder.display())?;
        writeln!(
            f,
            "{0}x{0} images, {1} vision layers, {2} queries, {3}x{3} masks",
            self.image_size, self.vision_layers, self.queries, self.low_res_mask_size
        )
    }
}

#[derive(Debug, Serialize)]
struct Copied {
    from: PathBuf,
    folder: PathBuf,
    files: Vec<String>,
    size_bytes: u64,
}

impl fmt::Display for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, megabytes) = (self.files.len(), self.size_bytes as f64 / 1e6);
        writeln!(f, "copied {}", self.from.display())?;
        writeln!(f, "to {}: {}, {megabytes:.1} MB", self.folder.display(), counted(n, "file"))
    }
}

#[derive(Debug, Serialize)]
struct ModelPath {
    folder: PathBuf,
}

impl fmt::Display for ModelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.folder.display())
    }
}

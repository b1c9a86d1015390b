//! `courtside model`.

use std::fmt;
use std::path::PathBuf;
use worker::failure::EngineResult;

use clap::Subcommand;
use sam3::{Model, VideoConfig};
use serde::Serialize;

use client::failure::Outcome;
use worker::model_folder;

/// Looks after SAM3 checkpoints.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Verifies a checkpoint folder without running it: configuration, tokenizer, and the name and shape of
    /// every tensor.
    Check {
        /// The folder; without it, the one that `track` would use.
        folder: Option<PathBuf>,
    },
    /// Prints the folder that `track` would use, downloading the checkpoint if it is nowhere.
    Path,
}

/// Runs the command.
pub(super) fn run(args: &Args, json: bool) -> Outcome<()> {
    match &args.action {
        Action::Check { folder } => {
            let folder = model_folder::find(folder.as_deref())?;
            let config = Model::check(&folder).or_failure()?;
            super::print(&Report::new(folder, &config), json)
        }
        Action::Path => super::print(&Place { folder: model_folder::find(None)? }, json),
    }
}

/// What a good checkpoint is.
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
            "pictures {0}x{0}, {1} vision layers, {2} queries, masks {3}x{3}",
            self.image_size, self.vision_layers, self.queries, self.low_res_mask_size
        )
    }
}

#[derive(Debug, Serialize)]
struct Place {
    folder: PathBuf,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.folder.display())
    }
}

//! The feature pyramid above the ViT: three levels at 4, 2 and 1 times the patch grid (reference:
//! `Sam3VisionNeck`, `Sam3FPNLayer`). The reference's fourth level, at half the grid, is not used and not computed.

use candle_core::{Result as TensorResult, Tensor};

use crate::error::Result;
use crate::model_files::Weights;
use crate::model_files::config::VisionConfig;
use crate::nn::{Conv2d, ConvTranspose2x2, Linear};
use crate::ops::ConvGeometry;
use crate::trace;

/// `Sam3VisionNeck`: one layer for each level.
pub(crate) struct Neck {
    fpn_layers: [FpnLayer; 3],
}

/// Pyramid levels of one image, finest first: `[1, 4g, 4g, c]`, `[1, 2g, 2g, c]`, `[1, g, g, c]`.
pub(crate) struct Pyramid(pub [Tensor; 3]);

impl Neck {
    pub(crate) fn new(cfg: &VisionConfig, w: &Weights) -> Result<Self> {
        let layers = w.pp("fpn_layers");
        layers.ignore(3);
        let layer = |i: usize| FpnLayer::new(cfg, 2 - i, &layers.pp(i));
        Ok(Self { fpn_layers: [layer(0)?, layer(1)?, layer(2)?] })
    }

    /// `[1, g, g, c]` → the pyramid.
    pub(crate) fn forward(&self, x: &Tensor) -> TensorResult<Pyramid> {
        let [l0, l1, l2] = &self.fpn_layers;
        let levels = [l0.forward(x)?, l1.forward(x)?, l2.forward(x)?];
        for (name, level) in ["neck.0", "neck.1", "neck.2"].into_iter().zip(&levels) {
            trace::note(name, level);
        }
        Ok(Pyramid(levels))
    }
}

/// `Sam3FPNLayer`: upsampling, a projection and a 3×3 convolution.
pub(crate) struct FpnLayer {
    scale_layers: Vec<ConvTranspose2x2>,
    proj1: Linear,
    proj2: Conv2d,
}

impl FpnLayer {
    /// With `doublings` transposed convolutions, each of which doubles the size and halves the channels.
    pub(crate) fn new(cfg: &VisionConfig, doublings: usize, w: &Weights) -> Result<Self> {
        let (c, out) = (cfg.backbone_config.hidden_size, cfg.fpn_hidden_size);
        // In the reference's list, every second entry is the GELU between two of them.
        let scale_layers = (0..doublings)
            .map(|i| ConvTranspose2x2::new(c >> i, c >> (i + 1), &w.pp("scale_layers").pp(2 * i)))
            .collect::<Result<_>>()?;
        let same = ConvGeometry { kernel: 3, stride: 1, padding: 1 };
        Ok(Self {
            scale_layers,
            proj1: Linear::conv1x1(c >> doublings, out, &w.pp("proj1"))?,
            proj2: Conv2d::new(out, out, same, &w.pp("proj2"))?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> TensorResult<Tensor> {
        let mut x = x.clone();
        for (i, layer) in self.scale_layers.iter().enumerate() {
            if i > 0 {
                x = crate::ops::gelu(&x)?;
            }
            x = layer.forward(&x)?;
        }
        self.proj2.forward(&self.proj1.forward(&x)?)
    }
}

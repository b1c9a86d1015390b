//! Which family of SAM3 a model folder contains, and what its weight files may contain that is not used.

use serde_json::Value;

/// A family of models: an architecture with its layout of `config.json` and its tensor names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// SAM 3, as `Sam3VideoModel` of transformers stores it.
    Sam3,
}

/// Keys of `config.json` of which any SAM 3 video model has at least one.
const SAM3_KEYS: [&str; 2] = ["detector_config", "tracker_config"];

/// Keys of `config.json` that only SAM 3.1 models have.
const SAM31_KEYS: [&str; 2] = ["neck", "tracker"];

impl Family {
    /// Recognizes the family by the keys of `config.json`.
    ///
    /// # Errors
    /// For any other file, a sentence that names what was found instead.
    pub(super) fn of_config(json: &Value) -> Result<Self, String> {
        let has = |key: &&str| json.get(key).is_some();
        if SAM3_KEYS.iter().any(has) {
            return Ok(Self::Sam3);
        }
        if SAM31_KEYS.iter().all(has) {
            return Err("this is a SAM 3.1 model, which is not supported; use a SAM 3 model".into());
        }
        let model_type = json.get("model_type").and_then(Value::as_str);
        let found = model_type.map(|name| format!(" (model_type is {name:?})")).unwrap_or_default();
        Err(format!("has neither detector_config nor tracker_config: not a SAM 3 video model{found}"))
    }

    /// Prefixes of tensors that belong to the model but that text-prompted tracking does not use. They may be
    /// present or missing.
    pub(super) fn unused_prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Sam3 => &[
                "detector_model.geometry_encoder.",
                "detector_model.mask_decoder.semantic_projection.",
                "detector_model.text_encoder.text_projection.",
                "tracker_model.prompt_encoder.point_embed.",
                "tracker_model.prompt_encoder.shared_embedding.",
                "tracker_model.no_memory_embedding",
                "tracker_model.no_memory_positional_encoding",
            ],
        }
    }

    /// Suffixes of tables that older exports store and that are computed here.
    pub(super) fn computed_suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Sam3 => &[".position_ids", ".inv_freq", ".original_inv_freq"],
        }
    }

    /// The names under which a tensor may be stored: as on the hub, and as `save_pretrained` of transformers writes
    /// the tracker's.
    pub(super) fn stored_names(self, key: &str) -> impl Iterator<Item = String> {
        let Self::Sam3 = self;
        let doubled =
            key.strip_prefix("tracker_model.").map(|rest| format!("tracker_model.tracker_model.{rest}"));
        std::iter::once(key.to_owned()).chain(doubled)
    }

    /// The name of a stored tensor inside the engine; the inverse of [`Self::stored_names`].
    pub(super) fn engine_name(self, stored: &str) -> String {
        let Self::Sam3 = self;
        stored.replacen("tracker_model.tracker_model.", "tracker_model.", 1)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn recognizes_families_by_their_keys() {
        let of = |json| Family::of_config(&json);
        assert_eq!(of(json!({"detector_config": {}})), Ok(Family::Sam3));
        assert_eq!(of(json!({"tracker_config": {}})), Ok(Family::Sam3));
        let error = of(json!({"vision": {}, "neck": {}, "detector": {}, "tracker": {}})).unwrap_err();
        assert!(error.contains("SAM 3.1"), "{error}");
        let error = of(json!({"model_type": "sam2_video"})).unwrap_err();
        assert!(error.contains("neither detector_config nor tracker_config"), "{error}");
        assert!(error.contains("\"sam2_video\""), "{error}");
    }
}

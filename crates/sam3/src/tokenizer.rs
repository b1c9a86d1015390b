//! Converts prompts to token ids with the model's `tokenizer.json` (reference: `CLIPTokenizer` called with
//! `padding="max_length", max_length=32`).

use std::path::Path;

use crate::error::{Error, Result};

/// Number of tokens that prompts are padded to, fixed by the reference.
pub(crate) const PROMPT_TOKENS: usize = 32;

/// An encoded prompt of [`PROMPT_TOKENS`] tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PromptTokens {
    pub ids: Vec<u32>,
    /// False for padding, which attention ignores.
    pub is_word: Vec<bool>,
}

/// Converts prompts to token ids.
#[derive(Debug)]
pub(crate) enum PromptTokenizer {
    /// The tokenizer of a model folder.
    File { tokenizer: Box<tokenizers::Tokenizer>, pad_id: u32 },
    /// One token per byte, for models with random weights.
    Bytes { vocab_size: u32 },
}

impl PromptTokenizer {
    /// Reads `tokenizer.json`, and the padding token from `tokenizer_config.json`.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        let wrong = |what: String| Error::Model { path: path.clone(), what };
        if !path.is_file() {
            return Err(wrong("missing; it is part of the model".into()));
        }
        let mut tokenizer = tokenizers::Tokenizer::from_file(&path).map_err(|e| wrong(e.to_string()))?;
        let stored_pad = tokenizer.get_padding().map(|p| p.pad_id);
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| wrong(e.to_string()))?;
        let named_pad = pad_token(&folder.join("tokenizer_config.json"));
        let pad_id = named_pad
            .and_then(|token| tokenizer.token_to_id(&token))
            .or(stored_pad)
            .or_else(|| tokenizer.token_to_id("<|endoftext|>"))
            .ok_or_else(|| wrong("has no padding token".into()))?;
        Ok(Self::File { tokenizer: Box::new(tokenizer), pad_id })
    }

    /// Encodes a prompt and pads it.
    ///
    /// # Errors
    /// [`Error::Prompt`] for a prompt of more than [`PROMPT_TOKENS`] tokens, or an empty one.
    pub(crate) fn encode(&self, prompt: &str) -> Result<PromptTokens> {
        let wrong = |why: String| Error::Prompt { prompt: prompt.to_owned(), why };
        if prompt.trim().is_empty() {
            return Err(wrong("is empty; name what to track, for example \"basketball player\"".into()));
        }
        let (mut ids, pad_id) = match self {
            Self::File { tokenizer, pad_id } => {
                let encoding = tokenizer.encode(prompt, true).map_err(|e| wrong(e.to_string()))?;
                (encoding.get_ids().to_vec(), *pad_id)
            }
            Self::Bytes { vocab_size } => {
                (prompt.bytes().map(|b| u32::from(b) % vocab_size).collect(), vocab_size - 1)
            }
        };
        let n_words = ids.len();
        if n_words > PROMPT_TOKENS {
            return Err(wrong(format!(
                "has {n_words} tokens including start and end, but the text encoder takes {PROMPT_TOKENS}; \
                 use a shorter phrase"
            )));
        }
        ids.resize(PROMPT_TOKENS, pad_id);
        let is_word = (0..PROMPT_TOKENS).map(|i| i < n_words).collect();
        Ok(PromptTokens { ids, is_word })
    }
}

/// The `pad_token` of a tokenizer config, which is a string or an object with `content`.
fn pad_token(path: &Path) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    let token = json.get("pad_token")?;
    token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_owned)
}

//! Compares preprocessed frames and prompts with those of the reference.

use candle_core::DType;

use super::{CHECKPOINTS, Checkpoint, numbers};
use crate::ops;
use crate::tokenizer::PROMPT_TOKENS;

#[test]
fn frames_are_resized_to_the_same_bytes() {
    for name in CHECKPOINTS {
        let checkpoint = Checkpoint::open(name);
        let size = checkpoint.model.config.image_size();
        for t in 0..checkpoint.n_frames() {
            let tensor = |key: &str| checkpoint.tensors[key].get(t).unwrap();
            let rgb = tensor("video").flatten_all().unwrap().to_vec1::<u8>().unwrap();
            let got = ops::resize_rgb(&rgb, checkpoint.frame_size(), (size, size));
            let want = tensor("resized").permute((1, 2, 0)).unwrap().flatten_all().unwrap();
            let want = want.to_vec1::<u8>().unwrap();
            let differing = got.iter().zip(&want).filter(|(g, w)| g != w).count();
            assert_eq!(differing, 0, "{name} frame {t}: bytes that differ");
        }
    }
}

#[test]
fn frames_become_the_same_pixel_values() {
    for name in CHECKPOINTS {
        let checkpoint = Checkpoint::open(name);
        let rgb = checkpoint.tensors["video"].get(1).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let (size, model) = (checkpoint.frame_size(), &checkpoint.model);
        let got = model.preprocess.pixel_values(&rgb, size, DType::F32, &model.device).unwrap();
        assert_eq!(got.dims(), checkpoint.pixel_values(1).dims());
        let close = |(g, w): (f32, f32)| (g - w).abs() <= f32::EPSILON;
        let pairs = numbers(&got).into_iter().zip(numbers(&checkpoint.pixel_values(1)));
        assert!(pairs.into_iter().all(close), "{name}");
    }
}

#[test]
fn prompts_become_the_same_tokens() {
    for name in CHECKPOINTS {
        let checkpoint = Checkpoint::open(name);
        let table = checkpoint.reference["tokenization"].as_array().unwrap();
        assert!(table.len() > 5, "{name}");
        for entry in table {
            let text = entry["text"].as_str().unwrap();
            let got = checkpoint.model.tokenizer.encode(text);
            if text.trim().is_empty() {
                // The reference accepts an empty prompt; here it is an error.
                assert!(matches!(got, Err(crate::Error::Prompt { .. })), "{name} {text:?}");
                continue;
            }
            let got = got.unwrap();
            let numbers = |key: &str| -> Vec<u32> { serde_json::from_value(entry[key].clone()).unwrap() };
            assert_eq!(got.ids, numbers("input_ids"), "{name} {text:?}");
            let mask: Vec<u32> = got.is_word.iter().map(|&w| u32::from(w)).collect();
            assert_eq!(mask, numbers("attention_mask"), "{name} {text:?}");
            assert_eq!(mask.len(), PROMPT_TOKENS);
        }
    }
}

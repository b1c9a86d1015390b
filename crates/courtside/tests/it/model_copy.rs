//! `courtside model copy`, and model folders that are repositories of the Hugging Face cache.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::fixture::wide;
use crate::sandbox::Sandbox;

/// A cache as the Hugging Face library lays it out, with files that loading does not need.
fn cached_model(sandbox: &Sandbox) -> String {
    let repository = sandbox.path("models--facebook--sam3");
    let snapshot = repository.join("snapshots/0123");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(repository.join("blobs")).unwrap();
    wide().copy(&repository.join("blobs/all"));
    for entry in std::fs::read_dir(repository.join("blobs/all")).unwrap() {
        let name = entry.unwrap().file_name();
        symlink(Path::new("../../blobs/all").join(&name), snapshot.join(&name)).unwrap();
    }
    std::fs::write(snapshot.join("README.md"), "not needed").unwrap();
    repository.to_str().unwrap().to_owned()
}

#[test]
fn a_cached_model_is_copied_without_links() {
    let sandbox = Sandbox::new();
    let cached = cached_model(&sandbox);
    sandbox.run(&["model", "check", &cached]).expect(0, &[]);
    let copied =
        sandbox.run(&["--json", "model", "copy", "models/sam3", "--model", &cached]).expect(0, &[]).json();
    assert_eq!(copied["folder"], "models/sam3");
    let mut names: Vec<String> = std::fs::read_dir(sandbox.path("models/sam3"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            assert!(!path.is_symlink(), "{path:?}");
            path.file_name().unwrap().to_str().unwrap().to_owned()
        })
        .collect();
    names.sort();
    let needed = [
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names, needed);
    std::fs::remove_dir_all(&cached).unwrap();
    sandbox.run(&["model", "check", "models/sam3"]).expect(0, &[]);
    // Nothing of a failed copy is left, and nothing is overwritten.
    sandbox
        .run(&["model", "copy", "models/sam3", "--model", "models/sam3"])
        .expect(1, &["models/sam3 is not empty"]);
    sandbox.run(&["model", "copy", "models/other", "--model", &cached]).expect(3, &["does not exist"]);
    assert_eq!(std::fs::read_dir(sandbox.path("models")).unwrap().count(), 1);
}

/// The model of a fixture, whose weights are in bfloat16, with weights in f32 that bfloat16 does not hold.
fn in_f32(sandbox: &Sandbox) -> String {
    let folder = sandbox.path("f32");
    wide().copy(&folder);
    let weights = folder.join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let widened: BTreeMap<String, (Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            assert_eq!(tensor.dtype(), Dtype::BF16);
            let (numbers, _) = tensor.data().as_chunks::<2>();
            let f32s = numbers.iter().flat_map(|[low, high]| [0, 0x10, *low, *high]).collect();
            (name.to_owned(), (tensor.shape().to_vec(), f32s))
        })
        .collect();
    let views = widened
        .iter()
        .map(|(name, (shape, data))| (name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
    safetensors::serialize_to_file(views, None, &weights).unwrap();
    folder.to_str().unwrap().to_owned()
}

#[test]
fn a_copy_in_bfloat16_is_smaller_and_tracks() {
    let sandbox = Sandbox::new();
    let model = in_f32(&sandbox);
    sandbox.run(&["model", "copy", "small", "--model", &model, "--dtype", "bf16"]).expect(0, &[]);
    let size = |folder: &str| std::fs::metadata(Path::new(folder).join("model.safetensors")).unwrap().len();
    let (small, all) = (size(sandbox.path("small").to_str().unwrap()), size(&model));
    assert!(small * 10 < all * 7, "{small} of {all} bytes");
    wide().video(&sandbox, 2, "game.mkv");
    sandbox.run(&["track", "game.mkv", "--model", "small"]).expect(0, &[]);
}

#[test]
fn a_copied_cache_with_links_to_nothing_is_named() {
    let sandbox = Sandbox::new();
    let cached = cached_model(&sandbox);
    std::fs::remove_dir_all(sandbox.path("models--facebook--sam3/blobs")).unwrap();
    let words = ["is a link to a file that does not exist", "courtside model copy"];
    sandbox.run(&["model", "check", &cached]).expect(3, &words);
    wide().video(&sandbox, 2, "game.mkv");
    sandbox.run(&["track", "game.mkv", "--model", &cached]).expect(3, &words);
}

//! Models that do not load, with the error for each; layouts and storage types with the same results.

use std::sync::Arc;

use sam3::{Compat, Device, Error, FrameOutput, Mode, Model, Precision, Session, SessionOptions, Tensor};

use crate::checkpoint::Copy;
use crate::fixture::{Fixture, NAMES};
use crate::parity::MASK_LOGIT_TOLERANCE;

const SOME_KEY: &str = "detector_model.detr_encoder.layers.0.mlp.fc1.weight";

fn load(copy: &Copy) -> Result<Model, Error> {
    Model::load(copy.folder(), Precision::F32, &Device::Cpu)
}

/// The error of loading a model; checking it must fail with the same error.
fn refusal(copy: &Copy) -> Error {
    let loaded = load(copy).err().expect("loading fails");
    let checked = Model::check(copy.folder()).expect_err("the check fails");
    assert_eq!(loaded.to_string(), checked.to_string());
    loaded
}

fn assert_problem(copy: &Copy, parts: &[&str]) {
    let error = refusal(copy);
    let Error::Tensors { problems } = &error else { panic!("{error}") };
    assert_eq!(problems.len(), 1, "{error}");
    assert!(parts.iter().all(|part| problems[0].contains(part)), "{error}");
}

fn assert_checkpoint_error(copy: &Copy, file: &str, part: &str) {
    let error = refusal(copy);
    let Error::Model { path, what } = &error else { panic!("{error}") };
    assert!(path.ends_with(file) && what.contains(part), "{error}");
}

#[test]
fn a_missing_tensor_is_named_with_its_shape() {
    let copy = Copy::of("wide");
    let mut shape = String::new();
    copy.edit_tensors(|tensors| shape = format!("{:?}", tensors.remove(SOME_KEY).unwrap().dims()));
    assert_problem(&copy, &[SOME_KEY, "missing", &shape]);
}

#[test]
fn an_unused_tensor_is_named() {
    let copy = Copy::of("wide");
    let extra = "detector_model.detr_encoder.layers.99.mlp.fc1.weight";
    copy.edit_tensors(|tensors| {
        tensors.insert(extra.into(), Tensor::zeros((3, 2), candle_core::DType::F32, &Device::Cpu).unwrap());
    });
    assert_problem(&copy, &[extra, "[3, 2]", "nothing in the config uses it"]);
}

#[test]
fn a_tensor_of_the_wrong_shape_is_named_with_both_shapes() {
    let copy = Copy::of("wide");
    let mut want = String::new();
    copy.edit_tensors(|tensors| {
        let tensor = tensors.get_mut(SOME_KEY).unwrap();
        want = format!("{:?}", tensor.dims());
        *tensor = tensor.narrow(0, 0, 5).unwrap().contiguous().unwrap();
    });
    assert_problem(&copy, &[SOME_KEY, "[5, ", &want]);
}

#[test]
fn all_problems_are_reported_together() {
    let copy = Copy::of("narrow");
    copy.edit_tensors(|tensors| {
        tensors.retain(|key, _| !key.contains("detr_encoder.layers.0.mlp"));
    });
    let error = refusal(&copy);
    assert!(matches!(&error, Error::Tensors { problems } if problems.len() == 4), "{error}");
}

#[test]
fn a_truncated_file_is_refused() {
    let copy = Copy::of("wide");
    let path = copy.path("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    for len in [0, 4, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..len]).unwrap();
        assert_checkpoint_error(&copy, "model.safetensors", "not a complete safetensors file");
    }
}

#[test]
fn missing_files_are_named() {
    for (name, file, part) in [
        ("wide", "tokenizer.json", "missing"),
        ("wide", "config.json", ""),
        ("wide", "model.safetensors", "neither model.safetensors nor"),
        ("narrow", "model-00002-of-00002.safetensors", "shard"),
    ] {
        let copy = Copy::of(name);
        std::fs::remove_file(copy.path(file)).unwrap();
        let named = if file == "model.safetensors" { "" } else { file };
        let error = refusal(&copy);
        let Error::Model { path, what } = &error else { panic!("{error}") };
        assert!(path.to_str().unwrap().ends_with(named) && what.contains(part), "{error}");
    }
    let copy = Copy::of("wide");
    std::fs::remove_file(copy.path("processor_config.json")).unwrap();
    assert!(matches!(refusal(&copy), Error::Model { .. }));
}

#[test]
fn an_index_cannot_point_outside_its_folder() {
    for outside in ["../x.safetensors", "/etc/passwd", ".hidden.safetensors", "..\\x.safetensors"] {
        let copy = Copy::of("narrow");
        copy.edit_json("model.safetensors.index.json", |json| {
            let map = json["weight_map"].as_object_mut().unwrap();
            map.values_mut().next().unwrap().clone_from(&outside.into());
        });
        assert_checkpoint_error(&copy, "model.safetensors.index.json", "outside its folder");
    }
}

#[test]
fn a_corrupt_index_is_refused() {
    let copy = Copy::of("narrow");
    let index = "model.safetensors.index.json";
    copy.edit_json(index, |json| json["weight_map"] = serde_json::json!({}));
    assert_checkpoint_error(&copy, index, "lists no shards");
    copy.edit_json(index, |json| *json = serde_json::json!({"metadata": {}}));
    assert_checkpoint_error(&copy, index, "has no weight_map");
    std::fs::write(copy.path(index), "{").unwrap();
    assert_checkpoint_error(&copy, index, "not JSON");
}

#[test]
fn an_unsupported_config_value_is_named() {
    for (pointer, value) in [
        ("/detector_config/vision_config/backbone_config/rope_parameters/rope_type", "yarn"),
        ("/tracker_config/memory_fuser_hidden_act", "swish"),
    ] {
        let copy = Copy::of("wide");
        copy.edit_json("config.json", |json| *json.pointer_mut(pointer).unwrap() = value.into());
        let error = refusal(&copy);
        let Error::Config { key, value: found, .. } = &error else { panic!("{error}") };
        assert_eq!(*key, pointer[1..].replace('/', "."));
        assert!(found.contains(value), "{error}");
    }
}

#[test]
fn a_config_of_another_model_type_is_refused() {
    let copy = Copy::of("wide");
    copy.edit_json("config.json", |json| *json = serde_json::json!({"model_type": "bert"}));
    assert_checkpoint_error(&copy, "config.json", "not a SAM 3 video model");
}

#[test]
fn an_unsupported_resize_is_refused() {
    let copy = Copy::of("wide");
    copy.edit_json("processor_config.json", |json| {
        for key in ["video_processor", "image_processor"] {
            if json[key].is_object() {
                json[key]["resample"] = 3.into();
            }
        }
    });
    assert_checkpoint_error(&copy, "processor_config.json", "resample = 3");
}

/// The outputs of a model for its fixture's clip.
fn outputs(fixture: &Fixture, model: Model) -> Vec<FrameOutput> {
    fixture.run(&Arc::new(model), fixture.options(Mode::Streaming, Compat::Fixed))
}

#[test]
fn both_prefixes_of_tracker_keys_load() {
    let (short, doubled) = ("tracker_model.", "tracker_model.tracker_model.");
    for (name, from, to) in [("wide", short, doubled), ("narrow", doubled, short)] {
        let (fixture, copy) = (Fixture::open(name), Copy::of(name));
        let mut renamed = 0;
        copy.edit_tensors(|tensors| {
            let all = std::mem::take(tensors);
            tensors.extend(all.into_iter().map(|(key, tensor)| match key.strip_prefix(from) {
                Some(rest) => {
                    renamed += 1;
                    (format!("{to}{rest}"), tensor)
                }
                None => (key, tensor),
            }));
        });
        assert!(renamed > 100, "{name}: {renamed}");
        let want =
            fixture.run(&fixture.model(Precision::F32), fixture.options(Mode::Streaming, Compat::Fixed));
        assert!(outputs(&fixture, load(&copy).unwrap()) == want, "{name}");
    }
}

#[test]
fn one_file_loads_like_shards() {
    let (fixture, copy) = (Fixture::open("narrow"), Copy::of("narrow"));
    copy.edit_tensors(|_| {});
    assert!(copy.path("model.safetensors").is_file() && !copy.path("model.safetensors.index.json").exists());
    let want = fixture.run(&fixture.model(Precision::F32), fixture.options(Mode::Streaming, Compat::Fixed));
    assert!(outputs(&fixture, load(&copy).unwrap()) == want);
}

#[test]
fn check_returns_the_config_of_a_valid_model() {
    for name in NAMES {
        let fixture = Fixture::open(name);
        let checked = Model::check(&fixture.folder).unwrap();
        assert_eq!(format!("{checked:?}"), format!("{:?}", fixture.model(Precision::F32).config()));
    }
}

#[test]
fn invalid_prompts_are_refused() {
    let model = Fixture::open("wide").model(Precision::F32);
    let long = "ball ".repeat(40);
    for (prompts, part) in [
        (&["ball", ""][..], "is empty"),
        (&["  "], "is empty"),
        (&[long.as_str()], "the text encoder takes 32"),
        (&[], "no prompt"),
    ] {
        let options = SessionOptions::new(Mode::Streaming, (90, 120));
        let error = Session::new(model.clone(), prompts, options).err().expect("the prompts are refused");
        let Error::Prompt { why, .. } = &error else { panic!("{error}") };
        assert!(why.contains(part), "{error}");
    }
}

#[test]
fn bf16_storage_of_exact_weights_gives_the_same_objects() {
    for name in NAMES {
        let fixture = Fixture::open(name);
        let options = fixture.options(fixture.offline(), Compat::Fixed);
        let wide = fixture.run(&fixture.model(Precision::F32), options.clone());
        let half = fixture.run(&fixture.model(Precision::Bf16Weights), options);
        assert!(wide.iter().any(|o| !o.objects.is_empty()));
        for (a, b) in wide.iter().zip(&half) {
            let ids = |o: &FrameOutput| o.low_res.iter().map(|m| m.id).collect::<Vec<_>>();
            let shown = |o: &FrameOutput| o.objects.iter().map(|o| o.id).collect::<Vec<_>>();
            assert_eq!((ids(a), shown(a)), (ids(b), shown(b)), "{name} frame {}", a.frame_idx);
            let logits =
                |o: &FrameOutput| o.low_res.iter().flat_map(|m| m.logits.clone()).collect::<Vec<_>>();
            let worst = logits(a).iter().zip(logits(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= MASK_LOGIT_TOLERANCE, "{name}: a mask logit differs by {worst}");
        }
    }
}

//! RunPod's side: machines, catalogue and secrets.

use serde_json::{Value, json};

use crate::server::{Answer, check_body, problem};
use crate::state::{Rights, State};

pub(crate) fn respond(state: &mut State, method: &str, path: &[&str], key: &str, body: &Value) -> Answer {
    let Some(rights) = state.keys.get(key).cloned() else {
        return problem(401, "the bearer token is invalid");
    };
    let is_allowed = match (&rights, path) {
        (Rights::All, _) => true,
        (Rights::Machine(own), ["pods", id]) => own == id,
        (Rights::Machine(_), _) => false,
        (Rights::Read, _) => method == "GET",
    };
    if !is_allowed {
        return problem(403, &format!("access denied to the key {key}"));
    }
    match (method, path) {
        ("GET", ["pods"]) => {
            let pods: Vec<&Value> = state.pods.values().collect();
            (200, json!({ "pods": pods }))
        }
        ("POST", ["pods"]) => create(state, body),
        ("GET", ["pods", id]) => match state.pods.get(*id) {
            Some(pod) => (200, pod.clone()),
            None => problem(404, "resource not found"),
        },
        ("DELETE", ["pods", id]) => match state.pods.remove(*id) {
            Some(_) => (204, Value::Null),
            None => problem(404, "resource not found"),
        },
        ("GET", ["catalog", "gpus"]) => (200, json!({ "gpus": catalogue(state) })),
        (_, ["account", "secrets", rest @ ..]) => secrets(state, method, rest, body),
        _ => problem(404, "no such path"),
    }
}

fn create(state: &mut State, body: &Value) -> Answer {
    if let Some(invalid) = check_body(state, "CreatePodRequest", body) {
        return invalid;
    }
    if !state.has_credit {
        return problem(402, "insufficient balance");
    }
    let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
    let wanted = text(&body["gpu"]["id"]);
    let free = state.gpus.iter().find(|gpu| gpu.id == wanted && gpu.availability != "NONE");
    let Some(price) = free.map(|gpu| gpu.price) else {
        return problem(400, "there are no instances with the requested specifications");
    };
    let price = state.price_of_new_pods.unwrap_or(price);
    let id = state.new_id("pod");
    state.add_pod(&id, &text(&body["name"]), &text(&body["args"]), price);
    let pod = state.pods.get_mut(&id).unwrap();
    pod["gpu"]["id"] = wanted.into();
    pod["image"] = body["image"].clone();
    pod["env"] = body["env"].clone();
    pod["status"] = "PROVISIONING".into();
    (201, pod.clone())
}

fn catalogue(state: &State) -> Vec<Value> {
    let gpu = |gpu: &crate::Gpu| {
        json!({
            "id": gpu.id, "name": gpu.id, "pool": null, "manufacturer": "NVIDIA", "memory": gpu.memory,
            "secure": true, "community": false, "price": { "secure": gpu.price, "community": 0.0 },
            "maxCount": { "secure": 8, "community": 0 }, "availability": gpu.availability,
        })
    };
    state.gpus.iter().map(gpu).collect()
}

fn secrets(state: &mut State, method: &str, path: &[&str], body: &Value) -> Answer {
    let shown = |(id, name, _): &(String, String, String)| json!({ "id": id, "name": name, "createdAt": "2026-06-01T12:00:00Z" });
    let value = body["value"].as_str().unwrap_or_default().to_owned();
    match (method, path) {
        ("GET", []) => (200, json!({ "secrets": state.secrets.iter().map(shown).collect::<Vec<_>>() })),
        ("POST", []) => {
            if let Some(invalid) = check_body(state, "CreateSecretRequest", body) {
                return invalid;
            }
            let name = body["name"].as_str().unwrap_or_default().to_owned();
            if state.secrets.iter().any(|(_, known, _)| *known == name) {
                return problem(409, "a secret with this name exists");
            }
            let secret = (state.new_id("secret"), name, value);
            state.secrets.push(secret.clone());
            (201, shown(&secret))
        }
        ("PATCH", [id]) => {
            if let Some(invalid) = check_body(state, "UpdateSecretRequest", body) {
                return invalid;
            }
            match state.secrets.iter_mut().find(|(known, ..)| known == id) {
                Some(secret) => {
                    secret.2 = value;
                    (200, shown(secret))
                }
                None => problem(404, "resource not found"),
            }
        }
        _ => problem(404, "no such path"),
    }
}

//! Vast's side: one machine that describes, destroys or stops itself.

use serde_json::{Value, json};

use crate::server::Answer;
use crate::state::{Rights, State};

pub(crate) fn respond(state: &mut State, method: &str, id: &str, key: &str, body: &Value) -> Answer {
    let is_allowed = match state.keys.get(key) {
        Some(Rights::All) => true,
        Some(Rights::Machine(own)) => own == id,
        _ => false,
    };
    if !is_allowed {
        return (
            401,
            json!({ "success": false, "error": "auth_error", "msg": "Invalid or expired API key" }),
        );
    }
    if !state.instances.contains_key(id) {
        return (404, json!({ "success": false, "error": "no_such_instance", "msg": "Instance not found" }));
    }
    match method {
        "GET" => {
            let facts = json!({
                "id": id.parse::<u64>().unwrap_or_default(), "actual_status": state.instances[id], "label": null,
                "gpu_name": "RTX A5000", "dph_total": 0.21,
            });
            (200, json!({ "instances": facts }))
        }
        "DELETE" => {
            state.instances.remove(id);
            (200, json!({ "success": true, "msg": "Instance destroyed successfully" }))
        }
        "PUT" if body["state"] == "stopped" => {
            state.instances.insert(id.to_owned(), "stopped");
            (200, json!({ "success": true }))
        }
        _ => (400, json!({ "success": false, "error": "invalid_args", "msg": "invalid state" })),
    }
}

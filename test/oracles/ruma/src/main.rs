//! Answers questions about rooms with the crates of Ruma: one JSON object a line, on standard input and output.
//!
//! `../protocol.ts` says what is asked and what is answered. Every request is answered; a panic is an answer too.

mod event;
mod room;

use std::{
    io::{self, BufRead, Write},
    panic::{AssertUnwindSafe, catch_unwind},
};

use ruma_common::CanonicalJsonValue;
use serde_json::{Value, json};

fn main() -> io::Result<()> {
    std::panic::set_hook(Box::new(|_| {}));
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let answer = answer(&line?);
        serde_json::to_writer(&mut out, &answer)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(line: &str) -> Value {
    let request: Value = match serde_json::from_str(line) {
        Ok(request) => request,
        Err(error) => return json!({ "error": format!("not JSON: {error}") }),
    };
    let result = guarded(|| match request["op"].as_str() {
        Some("room") => room::answer(&request),
        Some("canonical") => canonical(&request),
        _ => Err("unknown op".to_owned()),
    });
    match result {
        Ok(mut answer) => {
            answer["id"] = request["id"].clone();
            answer
        }
        Err(reason) => json!({ "id": request["id"], "error": reason }),
    }
}

/// The canonical JSON of a text, or why it has none.
fn canonical(request: &Value) -> Result<Value, String> {
    let text = request["text"].as_str().ok_or("there is no text")?;
    let written = serde_json::from_str::<Value>(text)
        .map_err(|error| error.to_string())
        .and_then(|value| CanonicalJsonValue::try_from(value).map_err(|error| error.to_string()))
        .map(|value| value.to_string());
    Ok(match written {
        Ok(canonical) => json!({ "canonical": canonical }),
        Err(reason) => json!({ "refused": reason }),
    })
}

/// What the function says; a panic is `crashed: ` and its message.
pub(crate) fn guarded<T>(ask: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic");
        Err(format!("crashed: {message}"))
    })
}

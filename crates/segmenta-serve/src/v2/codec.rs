//! Bodies of KServe's V2 protocol: JSON, and after it the bytes of tensors (Triton's binary tensor data extension). Pure functions
//! from bytes to tensors and back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A request for an inference.
#[derive(Debug)]
pub struct InferRequest {
    /// What the caller calls it.
    pub id: Option<String>,
    /// Its tensors.
    pub inputs: Vec<Input>,
    /// The results that it wants; all if it names none.
    pub outputs: Vec<Wanted>,
    /// Whether results come as bytes where they do not say it themselves.
    pub binary: bool,
}

/// A tensor that came.
#[derive(Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
    /// Its element's type, as the protocol writes it: `FP32`, `BYTES`.
    pub datatype: String,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Bytes(Vec<u8>),
    Values(Value),
}

/// A result that is wanted.
#[derive(Debug)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Whether it comes as bytes, if that is said.
    pub binary: Option<bool>,
}

#[derive(Deserialize)]
struct Document {
    id: Option<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    inputs: Vec<InputDocument>,
    #[serde(default)]
    outputs: Vec<OutputDocument>,
}

#[derive(Deserialize)]
struct InputDocument {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    data: Option<Value>,
}

#[derive(Deserialize)]
struct OutputDocument {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// Reads a body; `head` is how much of it is JSON, where the request's head says it.
///
/// # Errors
/// What is wrong, in words.
pub fn read(body: &[u8], head: Option<usize>) -> Result<InferRequest, String> {
    let head = head.unwrap_or(body.len());
    let (document, mut bytes) = body.split_at_checked(head).ok_or_else(|| {
        format!(
            "Inference-Header-Content-Length is {head}, the body has {} bytes",
            body.len()
        )
    })?;
    let document: Document = serde_json::from_slice(document)
        .map_err(|error| format!("the JSON cannot be read: {error}"))?;
    let mut inputs = Vec::with_capacity(document.inputs.len().min(16));
    for input in document.inputs {
        let size = input.parameters.get("binary_data_size");
        let data = match (size, input.data) {
            (Some(size), None) => {
                let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or_else(|| {
                    format!("binary_data_size of `{}` is no number of bytes", input.name)
                })?;
                let (own, rest) = bytes.split_at_checked(size).ok_or_else(|| {
                    format!(
                        "`{}` has {size} bytes, {} are left in the body",
                        input.name,
                        bytes.len()
                    )
                })?;
                bytes = rest;
                Data::Bytes(own.to_vec())
            }
            (None, Some(values)) => Data::Values(values),
            (Some(_), Some(_)) => {
                return Err(format!(
                    "`{}` has both `data` and binary_data_size",
                    input.name
                ));
            }
            (None, None) => return Err(format!("`{}` has no data", input.name)),
        };
        if input.parameters.contains_key("shared_memory_region") {
            return Err(format!(
                "`{}` lies in shared memory, which this server does not read · send its data",
                input.name
            ));
        }
        inputs.push(Input {
            name: input.name,
            shape: input.shape,
            datatype: input.datatype,
            data,
        });
    }
    if !bytes.is_empty() {
        return Err(format!("{} bytes follow the last tensor", bytes.len()));
    }
    let flag = |of: &Map<String, Value>, name: &str| of.get(name).and_then(Value::as_bool);
    let mut outputs = Vec::with_capacity(document.outputs.len().min(16));
    for output in document.outputs {
        if output.parameters.contains_key("classification") {
            return Err(format!(
                "`{}` is a map, which has no classification · leave that parameter out",
                output.name
            ));
        }
        if output.parameters.contains_key("shared_memory_region") {
            return Err(format!(
                "`{}` is wanted in shared memory, which this server does not write",
                output.name
            ));
        }
        outputs.push(Wanted {
            binary: flag(&output.parameters, "binary_data"),
            name: output.name,
        });
    }
    Ok(InferRequest {
        id: document.id,
        inputs,
        outputs,
        binary: flag(&document.parameters, "binary_data_output").unwrap_or(false),
    })
}

impl Input {
    fn values(&self) -> Result<usize, String> {
        let values = self
            .shape
            .iter()
            .try_fold(1_usize, |n, &extent| n.checked_mul(extent));
        values.ok_or_else(|| format!("the shape of `{}` is absurd", self.name))
    }

    fn check(&self, datatype: &str) -> Result<(), String> {
        if self.datatype == datatype {
            return Ok(());
        }
        Err(format!(
            "`{}` is {}, the network takes {datatype}",
            self.name, self.datatype
        ))
    }

    /// Numbers of single precision, in C order.
    ///
    /// # Errors
    /// Another type, or more or fewer of them than its shape says.
    pub fn floats(&self) -> Result<Vec<f32>, String> {
        self.check("FP32")?;
        let expected = self.values()?;
        let floats: Vec<f32> = match &self.data {
            Data::Bytes(bytes) => {
                let (numbers, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(format!(
                        "{} bytes of `{}` are no whole numbers of 4",
                        bytes.len(),
                        self.name
                    ));
                }
                numbers
                    .iter()
                    .map(|number| f32::from_le_bytes(*number))
                    .collect()
            }
            Data::Values(values) => {
                let mut floats = Vec::new();
                flatten(values, &mut |value| {
                    floats.push(value.as_f64()? as f32);
                    Some(())
                })
                .ok_or_else(|| format!("something in `{}` is no number", self.name))?;
                floats
            }
        };
        if floats.len() != expected {
            return Err(format!(
                "`{}` has {} numbers, its shape {:?} says {expected}",
                self.name,
                floats.len(),
                self.shape
            ));
        }
        Ok(floats)
    }

    /// One string of bytes: in a body's bytes behind its length in four bytes, in JSON in base64.
    ///
    /// # Errors
    /// Another type, or not one of them.
    pub fn one_string(self) -> Result<Vec<u8>, String> {
        self.check("BYTES")?;
        let count = self.values()?;
        if count != 1 {
            return Err(format!(
                "`{}` has {count} pictures; send one with each request, the server puts them together",
                self.name
            ));
        }
        match self.data {
            Data::Bytes(bytes) => {
                let wrong = || format!("`{}` is not one string behind its length", self.name);
                let (len, rest) = bytes.split_first_chunk::<4>().ok_or_else(wrong)?;
                if rest.len() != u32::from_le_bytes(*len) as usize {
                    return Err(wrong());
                }
                Ok(rest.to_vec())
            }
            Data::Values(values) => {
                let mut strings = Vec::new();
                let found = flatten(&values, &mut |value| {
                    strings.push(value.as_str()?.to_owned());
                    Some(())
                });
                let wrong = || format!("`{}` is not one string in base64", self.name);
                found.ok_or_else(wrong)?;
                let [string] = &strings[..] else {
                    return Err(wrong());
                };
                STANDARD.decode(string).map_err(|_| wrong())
            }
        }
    }
}

/// Every value of arrays in arrays, in order.
fn flatten(value: &Value, take: &mut impl FnMut(&Value) -> Option<()>) -> Option<()> {
    match value {
        Value::Array(values) => values
            .iter()
            .try_for_each(|value| flatten(value, take).ok_or(()))
            .ok(),
        value => take(value),
    }
}

/// A tensor that goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub numbers: Numbers,
}

/// Numbers of a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// `UINT8`.
    Bytes(Vec<u8>),
    /// `FP32`.
    Floats(Vec<f32>),
}

impl Numbers {
    fn datatype(&self) -> &'static str {
        match self {
            Self::Bytes(_) => "UINT8",
            Self::Floats(_) => "FP32",
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Floats(floats) => floats
                .iter()
                .flat_map(|float| float.to_le_bytes())
                .collect(),
        }
    }

    fn values(&self) -> Value {
        match self {
            Self::Bytes(bytes) => json!(bytes),
            Self::Floats(floats) => json!(floats),
        }
    }
}

/// A body with the results that were wanted, and how much of it is JSON where bytes follow that.
///
/// # Errors
/// A result that there is not.
pub fn write(
    model: &str,
    request: &InferRequest,
    outputs: &[Output],
) -> Result<(Vec<u8>, Option<usize>), String> {
    let find = |name: &str| {
        let found = outputs.iter().find(|output| output.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
            format!("no result `{name}` · one of {}", names.join(", "))
        })
    };
    let wanted: Vec<(&Output, bool)> = if request.outputs.is_empty() {
        outputs
            .iter()
            .map(|output| (output, request.binary))
            .collect()
    } else {
        let wanted = request
            .outputs
            .iter()
            .map(|wanted| Ok((find(&wanted.name)?, wanted.binary.unwrap_or(request.binary))));
        wanted.collect::<Result<_, String>>()?
    };
    let mut bytes = Vec::new();
    let mut documents = Vec::with_capacity(wanted.len());
    for (output, binary) in wanted {
        let mut document = json!({
            "name": output.name,
            "shape": output.shape,
            "datatype": output.numbers.datatype(),
        });
        if binary {
            let own = output.numbers.bytes();
            document["parameters"] = json!({"binary_data_size": own.len()});
            bytes.extend(own);
        } else {
            document["data"] = output.numbers.values();
        }
        documents.push(document);
    }
    let mut document = json!({"model_name": model, "model_version": "1", "outputs": documents});
    if let Some(id) = &request.id {
        document["id"] = json!(id);
    }
    let mut body = serde_json::to_vec(&document).map_err(|error| error.to_string())?;
    let head = (!bytes.is_empty()).then_some(body.len());
    body.extend(bytes);
    Ok((body, head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(document: &Value, bytes: &[u8]) -> Result<InferRequest, String> {
        let mut body = serde_json::to_vec(document).unwrap();
        let head = body.len();
        body.extend_from_slice(bytes);
        read(&body, (!bytes.is_empty()).then_some(head))
    }

    #[test]
    fn numbers_come_as_json_or_as_bytes() {
        let plain = json!({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [[0.5, 2]]}]});
        let read = request(&plain, &[]).unwrap();
        assert_eq!(read.inputs[0].floats().unwrap(), [0.5, 2.0]);
        let binary = json!({
            "id": "7",
            "inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}],
            "parameters": {"binary_data_output": true},
        });
        let read = request(&binary, &[0, 0, 0, 63, 0, 0, 0, 64]).unwrap();
        assert_eq!(read.inputs[0].floats().unwrap(), [0.5, 2.0]);
        let output = Output {
            name: "y".into(),
            shape: vec![2],
            numbers: Numbers::Floats(vec![1.0, -1.0]),
        };
        let (body, head) = write("m", &read, std::slice::from_ref(&output)).unwrap();
        let head = head.unwrap();
        let document: Value = serde_json::from_slice(&body[..head]).unwrap();
        assert_eq!(document["id"], "7");
        assert_eq!(document["outputs"][0]["parameters"]["binary_data_size"], 8);
        assert_eq!(body[head..], [0, 0, 128, 63, 0, 0, 128, 191]);
        let (body, head) = write("m", &request(&plain, &[]).unwrap(), &[output]).unwrap();
        assert_eq!(head, None);
        let document: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(document["outputs"][0]["data"], json!([1.0, -1.0]));
    }

    #[test]
    fn a_picture_is_one_string() {
        let input = json!({"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["YWJj"]}]});
        let mut read = request(&input, &[]).unwrap();
        assert_eq!(read.inputs.remove(0).one_string().unwrap(), b"abc");
        let input = json!({"inputs": [{"name": "image", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": 7}}]});
        let mut read = request(&input, &[3, 0, 0, 0, b'a', b'b', b'c']).unwrap();
        assert_eq!(read.inputs.remove(0).one_string().unwrap(), b"abc");
        let mut read = request(&input, &[9, 0, 0, 0, b'a', b'b', b'c']).unwrap();
        assert!(
            read.inputs
                .remove(0)
                .one_string()
                .unwrap_err()
                .contains("behind its length")
        );
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let input = |input: Value| json!({"inputs": [input]});
        for (document, bytes, part) in [
            (json!({}), &[][..], "inputs"),
            (json!([]), &[], "JSON"),
            (
                input(json!({"name": "x", "shape": [1], "datatype": "FP32"})),
                &[],
                "no data",
            ),
            (
                input(
                    json!({"name": "x", "shape": [1], "datatype": "FP32", "data": [1], "parameters": {"binary_data_size": 4}}),
                ),
                &[0; 4],
                "both",
            ),
            (
                input(
                    json!({"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 5}}),
                ),
                &[0; 4],
                "left in the body",
            ),
            (
                input(
                    json!({"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": -1}}),
                ),
                &[0; 4],
                "no number of bytes",
            ),
            (
                input(json!({"name": "x", "shape": [1], "datatype": "FP32", "data": [1]})),
                &[0; 4],
                "follow",
            ),
            (
                input(json!({"name": "x", "shape": [-1], "datatype": "FP32", "data": [1]})),
                &[],
                "JSON",
            ),
        ] {
            let error = request(&document, bytes).unwrap_err();
            assert!(error.contains(part), "{document}: {error}");
        }
        assert!(read(b"{}", Some(3)).unwrap_err().contains("Content-Length"));
        for (document, part) in [
            (
                json!({"name": "x", "shape": [2], "datatype": "FP32", "data": [1]}),
                "says 2",
            ),
            (
                json!({"name": "x", "shape": [1], "datatype": "FP32", "data": ["1"]}),
                "no number",
            ),
            (
                json!({"name": "x", "shape": [1], "datatype": "FP16", "data": [1]}),
                "takes FP32",
            ),
            (
                json!({"name": "x", "shape": [1usize << 40, 1usize << 40], "datatype": "FP32", "data": [1]}),
                "absurd",
            ),
        ] {
            let error = request(&input(document.clone()), &[]).unwrap().inputs[0]
                .floats()
                .unwrap_err();
            assert!(error.contains(part), "{document}: {error}");
        }
    }
}

//! Writes operations, constants and sizes.

use std::collections::{HashMap, HashSet};

use segmenta_graph::{Graph, Node, Shape};

use crate::proto::{AttributeProto, NodeProto, TensorProto};

pub(crate) const F32: i32 = 1;
pub(crate) const U8: i32 = 2;
pub(crate) const I64: i32 = 7;

/// An extent: known when the file is written, or the name of a tensor of one i64.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Dim {
    Fixed(i64),
    At(String),
}

impl From<usize> for Dim {
    fn from(pixels: usize) -> Self {
        Self::Fixed(pixels as i64)
    }
}

pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        i: Some(value),
        r#type: 2,
        ..AttributeProto::default()
    }
}

pub(crate) fn ints<const N: usize>(name: &str, values: [usize; N]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        ints: values.iter().map(|&value| value as i64).collect(),
        r#type: 7,
        ..AttributeProto::default()
    }
}

pub(crate) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        f: Some(value),
        r#type: 1,
        ..AttributeProto::default()
    }
}

pub(crate) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        s: Some(value.into()),
        r#type: 3,
        ..AttributeProto::default()
    }
}

/// The file as it comes into being.
pub(crate) struct Writer<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) opset: i64,
    /// Of every node, where the input has one size.
    pub(crate) shapes: Option<Vec<Shape>>,
    pub(crate) nodes: Vec<NodeProto>,
    pub(crate) tensors: Vec<TensorProto>,
    /// The name of every node's value; empty where it has none.
    pub(crate) values: Vec<String>,
    /// The batch's extent.
    pub(crate) batch: Dim,
    /// The module whose operations are being written.
    pub(crate) module: String,
    sizes: HashMap<Node, [Dim; 2]>,
    names: HashSet<String>,
    constants: HashMap<(i32, Vec<i64>, Vec<u8>), String>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(graph: &'a Graph, opset: i64, shapes: Option<Vec<Shape>>) -> Self {
        Self {
            graph,
            opset,
            shapes,
            nodes: Vec::new(),
            tensors: Vec::new(),
            values: vec![String::new(); graph.nodes().len()],
            batch: Dim::Fixed(1),
            module: String::new(),
            sizes: HashMap::new(),
            names: HashSet::new(),
            constants: HashMap::new(),
        }
    }

    /// `wanted`, or with a number behind where that is taken.
    pub(crate) fn unique(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut count = 1;
        while !self.names.insert(name.clone()) {
            count += 1;
            name = format!("{wanted}_{count}");
        }
        name
    }

    /// An operation with one result, whose name is given back.
    pub(crate) fn op(
        &mut self,
        kind: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let name = self.unique(&format!("{}/{kind}", self.module));
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: kind.into(),
            attribute: attributes,
        });
        name
    }

    fn constant(&mut self, data_type: i32, dims: Vec<i64>, bytes: Vec<u8>) -> String {
        let key = (data_type, dims, bytes);
        if let Some(name) = self.constants.get(&key) {
            return name.clone();
        }
        let name = self.unique("constant");
        self.tensors.push(TensorProto {
            dims: key.1.clone(),
            data_type,
            name: name.clone(),
            raw_data: Some(key.2.clone()),
            ..TensorProto::default()
        });
        self.constants.insert(key, name.clone());
        name
    }

    /// A vector of whole numbers.
    pub(crate) fn i64s(&mut self, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(I64, vec![values.len() as i64], bytes)
    }

    /// A whole number without an axis.
    pub(crate) fn i64(&mut self, value: i64) -> String {
        self.constant(I64, Vec::new(), value.to_le_bytes().into())
    }

    /// A number without an axis.
    pub(crate) fn f32(&mut self, value: f32) -> String {
        self.constant(F32, Vec::new(), value.to_le_bytes().into())
    }

    /// Numbers of a shape.
    pub(crate) fn f32s(&mut self, dims: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let dims = dims.iter().map(|&dim| dim as i64).collect();
        self.constant(F32, dims, bytes)
    }

    /// An extent as a tensor of one number.
    pub(crate) fn dim(&mut self, dim: &Dim) -> String {
        match dim {
            Dim::Fixed(value) => self.i64s(&[*value]),
            Dim::At(name) => name.clone(),
        }
    }

    /// Extents as one tensor.
    pub(crate) fn vector(&mut self, dims: &[Dim]) -> String {
        let fixed = dims.iter().map(|dim| match dim {
            Dim::Fixed(value) => Some(*value),
            Dim::At(_) => None,
        });
        if let Some(fixed) = fixed.collect::<Option<Vec<_>>>() {
            return self.i64s(&fixed);
        }
        let names: Vec<String> = dims.iter().map(|dim| self.dim(dim)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.op("Concat", &names, vec![int("axis", 0)])
    }

    fn arithmetic(&mut self, kind: &str, a: &Dim, b: &Dim, f: fn(i64, i64) -> i64) -> Dim {
        if let (Dim::Fixed(a), Dim::Fixed(b)) = (a, b) {
            return Dim::Fixed(f(*a, *b));
        }
        let (a, b) = (self.dim(a), self.dim(b));
        Dim::At(self.op(kind, &[&a, &b], vec![]))
    }

    pub(crate) fn add(&mut self, a: &Dim, b: &Dim) -> Dim {
        self.arithmetic("Add", a, b, |a, b| a + b)
    }

    pub(crate) fn sub(&mut self, a: &Dim, b: &Dim) -> Dim {
        self.arithmetic("Sub", a, b, |a, b| a - b)
    }

    pub(crate) fn mul(&mut self, a: &Dim, b: &Dim) -> Dim {
        self.arithmetic("Mul", a, b, |a, b| a * b)
    }

    pub(crate) fn div(&mut self, a: &Dim, b: &Dim) -> Dim {
        self.arithmetic("Div", a, b, |a, b| a / b)
    }

    pub(crate) fn modulo(&mut self, a: &Dim, b: &Dim) -> Dim {
        self.arithmetic("Mod", a, b, |a, b| a % b)
    }

    pub(crate) fn max(&mut self, a: &Dim, b: &Dim) -> Dim {
        self.arithmetic("Max", a, b, i64::max)
    }

    pub(crate) fn div_ceil(&mut self, a: &Dim, by: usize) -> Dim {
        let a = self.add(a, &Dim::from(by - 1));
        self.div(&a, &Dim::from(by))
    }

    /// One extent of a value.
    pub(crate) fn extent(&mut self, value: &str, axis: i64) -> Dim {
        let range = vec![int("start", axis), int("end", axis + 1)];
        Dim::At(self.op("Shape", &[value], range))
    }

    /// Height and width of a node's map.
    pub(crate) fn size(&mut self, node: Node) -> [Dim; 2] {
        if let Some(shapes) = &self.shapes {
            let shape = shapes[node.index()];
            return [shape.height.into(), shape.width.into()];
        }
        if let Some(size) = self.sizes.get(&node) {
            return size.clone();
        }
        let symbolic = self.graph.symbolic_size(node);
        let fixed = symbolic.split('×').map(|side| side.parse::<usize>().ok());
        let value = self.values[node.index()].clone();
        let mut sides = fixed.zip(2..).map(|(fixed, axis)| match fixed {
            Some(pixels) => pixels.into(),
            None => self.extent(&value, axis),
        });
        let size = [(); 2].map(|()| sides.next().expect("a height and a width"));
        drop(sides);
        self.sizes.insert(node, size.clone());
        size
    }

    /// How many pixels a node's map has.
    pub(crate) fn pixels(&mut self, node: Node) -> Dim {
        let [height, width] = self.size(node);
        self.mul(&height, &width)
    }

    /// `x` with other extents; 0 keeps one, −1 takes what is left.
    pub(crate) fn reshape(&mut self, x: &str, dims: &[i64]) -> String {
        let dims = self.i64s(dims);
        self.op("Reshape", &[x, &dims], vec![])
    }

    /// `x` as a batch of maps.
    pub(crate) fn as_map(&mut self, x: &str, channels: usize, [h, w]: [Dim; 2]) -> String {
        // One extent that is not known is what is left.
        let dims = match (h, w) {
            (Dim::At(_), Dim::Fixed(w)) => [Dim::Fixed(-1), Dim::Fixed(w)],
            (Dim::Fixed(h), Dim::At(_)) => [Dim::Fixed(h), Dim::Fixed(-1)],
            (h, w) => [h, w],
        };
        let [h, w] = dims;
        let dims = self.vector(&[Dim::Fixed(0), channels.into(), h, w]);
        self.op("Reshape", &[x, &dims], vec![])
    }

    /// A run along an axis.
    pub(crate) fn slice(&mut self, x: &str, axis: i64, from: &Dim, to: &Dim) -> String {
        let (from, to) = (self.dim(from), self.dim(to));
        let axes = self.i64s(&[axis]);
        self.op("Slice", &[x, &from, &to, &axes], vec![])
    }

    /// Zeros around the pixels: above, left, below, right.
    pub(crate) fn pad(&mut self, x: &str, zeros: [Dim; 4]) -> String {
        let [above, left, below, right] = zeros;
        let none = Dim::Fixed(0);
        let pads = [
            none.clone(),
            none.clone(),
            above,
            left,
            none.clone(),
            none,
            below,
            right,
        ];
        if pads.iter().all(|pad| *pad == Dim::Fixed(0)) {
            return x.into();
        }
        let pads = self.vector(&pads);
        self.op("Pad", &[x, &pads], vec![])
    }

    pub(crate) fn transpose<const N: usize>(&mut self, x: &str, order: [usize; N]) -> String {
        self.op("Transpose", &[x], vec![ints("perm", order)])
    }

    pub(crate) fn concat(&mut self, parts: &[&str], axis: i64) -> String {
        self.op("Concat", parts, vec![int("axis", axis)])
    }

    /// 0, 1, … as f32, one for each pixel of a side.
    pub(crate) fn count_up(&mut self, side: &Dim) -> String {
        if let Dim::Fixed(side) = side {
            let values: Vec<f32> = (0..*side).map(|i| i as f32).collect();
            return self.f32s(&[values.len()], &values);
        }
        let side = self.dim(side);
        let axes = self.i64s(&[0]);
        let side = self.op("Squeeze", &[&side, &axes], vec![]);
        let (zero, one) = (self.i64(0), self.i64(1));
        let range = self.op("Range", &[&zero, &side, &one], vec![]);
        self.cast(&range, F32)
    }

    pub(crate) fn cast(&mut self, x: &str, to: i32) -> String {
        self.op("Cast", &[x], vec![int("to", to.into())])
    }

    /// A side as f32.
    pub(crate) fn side(&mut self, side: &Dim) -> String {
        let side = self.dim(side);
        self.cast(&side, F32)
    }
}

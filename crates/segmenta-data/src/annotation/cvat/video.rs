//! Tracks: shapes over the frames of a video.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use roxmltree::Node;

use super::super::{Annotated, Annotations, Area, Shape, sound};
use super::interpolate::Motion;
use super::shape::{self, Geometry};
use super::{Wrong, child, class_of, wrong};

/// The most frames of a document: ten hours with 25 a second.
const MAX_FRAMES: i64 = 900_000;

/// Frames are numbered below this: far beyond any video.
const LAST_FRAME: i64 = 1 << 40;

/// The most points that all shapes between key frames may have: half a gigabyte.
const MAX_POINTS: usize = 1 << 26;

/// A task's frames by their numbers, each with the place of its picture.
type Frames = BTreeMap<i64, usize>;

/// Takes the shapes of all tracks into the pictures: those of the document, or a picture for each frame.
pub(super) fn read(
    root: Node<'_, '_>,
    tracks: &[Node<'_, '_>],
    all: &mut Annotations,
    listed: bool,
) -> Result<(), Wrong> {
    if tracks.is_empty() {
        return Ok(());
    }
    let mut parsed = Vec::with_capacity(tracks.len());
    for (index, &track) in tracks.iter().enumerate() {
        parsed.push(Track::new(track, index, all, listed)?);
    }
    let tasks = if all.pictures.is_empty() {
        frames_of_tasks(root, &parsed, all)?
    } else {
        let id = |(place, image): (usize, Node<'_, '_>)| {
            Some((image.attribute("id")?.trim().parse().ok()?, place))
        };
        let images = root.children().filter(|node| node.has_tag_name("image"));
        vec![(String::new(), images.enumerate().filter_map(id).collect())]
    };
    // Of each picture, its shapes by their `z_order`; those of a document's images lie below the tracks.
    let mut drawn: BTreeMap<usize, Vec<(i64, Shape)>> = BTreeMap::new();
    let mut points = 0;
    for track in parsed {
        let frames = if let [(_, only)] = &tasks[..] {
            only
        } else {
            let task = tasks.iter().find(|(id, _)| *id == track.task);
            let missing = || {
                wrong(format!(
                    "{} of the unknown task `{}`",
                    track.name, track.task
                ))
            };
            &task.ok_or_else(missing)?.1
        };
        track.draw(frames, all, &mut drawn, &mut points)?;
    }
    for (place, mut shapes) in drawn {
        shapes.sort_by_key(|(order, _)| *order);
        let shapes = shapes.into_iter().map(|(_, shape)| shape);
        all.pictures[place].shapes.extend(shapes);
    }
    Ok(())
}

/// One thing over many frames.
struct Track {
    name: String,
    task: String,
    class: u8,
    /// In the order of their frames.
    keys: Vec<Key>,
}

/// A track's shape in one frame.
struct Key {
    frame: i64,
    /// Not to be seen from here on.
    is_outside: bool,
    order: i64,
    geometry: Geometry,
}

impl Track {
    fn new(
        track: Node<'_, '_>,
        index: usize,
        all: &mut Annotations,
        listed: bool,
    ) -> Result<Self, Wrong> {
        let name = format!(
            "track {}",
            track.attribute("id").unwrap_or(&index.to_string())
        );
        let mut keys = Vec::new();
        for node in track.children().filter(roxmltree::Node::is_element) {
            let text = node.attribute("frame").unwrap_or_default();
            let place = || format!("{name}, frame {text}");
            let geometry = shape::geometry(node, &mut all.remarks, &place)
                .map_err(|what| wrong(format!("{what}, {}", place())))?;
            let Some(geometry) = geometry else {
                continue;
            };
            let frame = text
                .trim()
                .parse()
                .ok()
                .filter(|frame: &i64| (0..LAST_FRAME).contains(frame));
            let frame = frame.ok_or_else(|| {
                let sort = geometry.name();
                wrong(format!("a {sort} in the frame `{text}`, {name}"))
            })?;
            let outside = node.attribute("outside").unwrap_or_default().trim();
            keys.push(Key {
                frame,
                is_outside: outside == "1" || outside.eq_ignore_ascii_case("true"),
                order: shape::z_order(node),
                geometry,
            });
        }
        keys.sort_by_key(|key| key.frame);
        if let Some(pair) = keys.windows(2).find(|pair| pair[0].frame == pair[1].frame) {
            let frame = pair[0].frame;
            return Err(wrong(format!("two shapes of {name} in frame {frame}")));
        }
        let class = class_of(track, all, listed, &|| name.clone())?;
        let task = track.attribute("task_id").unwrap_or_default().to_owned();
        Ok(Self {
            name,
            task,
            class,
            keys,
        })
    }

    /// Draws the track's shapes into the frames: where they are listed, between key frames, and from the last one on.
    fn draw(
        self,
        frames: &Frames,
        all: &mut Annotations,
        drawn: &mut BTreeMap<usize, Vec<(i64, Shape)>>,
        points: &mut usize,
    ) -> Result<(), Wrong> {
        let Self {
            name, class, keys, ..
        } = self;
        let mut put = |place: usize, order: i64, area: &Arc<Area>, cost: usize| {
            *points += cost;
            if *points > MAX_POINTS {
                return Err(wrong(format!(
                    "more than {MAX_POINTS} points between key frames"
                )));
            }
            let area = Arc::clone(area);
            drawn
                .entry(place)
                .or_default()
                .push((order, Shape { class, area }));
            Ok(())
        };
        for (index, key) in keys.iter().enumerate() {
            if key.is_outside {
                continue;
            }
            let in_words = |what| wrong(format!("{what}, {name}, frame {}", key.frame));
            let area = Arc::new(key.geometry.clone().area().map_err(in_words)?);
            match frames.get(&key.frame) {
                Some(&place) => {
                    let picture = &all.pictures[place];
                    let size = (picture.width, picture.height);
                    let origin = || format!("{name}, frame {}", key.frame);
                    sound::inside(&mut all.remarks, &area, size, origin);
                    put(place, key.order, &area, 1)?;
                }
                None => {
                    let what = "in a frame that the video does not have: left out";
                    let first = || format!("{name}, frame {}", key.frame);
                    all.remarks.add("shape", what, first);
                }
            }
            // CVAT knows no tracks of masks: each is of its frame alone.
            if matches!(key.geometry, Geometry::Mask(..)) {
                continue;
            }
            let Some(next) = keys.get(index + 1) else {
                for (_, &place) in frames.range(key.frame + 1..) {
                    put(place, key.order, &area, 1)?;
                }
                continue;
            };
            let mut between = frames.range(key.frame + 1..next.frame).peekable();
            if between.peek().is_none() {
                continue;
            }
            let Some(motion) = Motion::new(&key.geometry, &next.geometry) else {
                let (a, b) = (key.geometry.name(), next.geometry.name());
                let what = format!(
                    "{name} is a {a} in frame {} and a {b} in frame {}",
                    key.frame, next.frame
                );
                return Err(wrong(what));
            };
            let whole = (next.frame - key.frame) as f64;
            for (&frame, &place) in between {
                let share = (frame - key.frame) as f64 / whole;
                let area = motion.at(share).area().map_err(in_words)?;
                let cost = match &area {
                    Area::Rings(rings) => rings.iter().map(Vec::len).sum(),
                    Area::Runs { .. } => 1,
                };
                put(place, key.order, &Arc::new(area), cost)?;
            }
        }
        Ok(())
    }
}

/// A picture for every frame of each task (or job) that the document is about.
fn frames_of_tasks(
    root: Node<'_, '_>,
    tracks: &[Track],
    all: &mut Annotations,
) -> Result<Vec<(String, Frames)>, Wrong> {
    let meta = root.children().filter(|node| node.has_tag_name("meta"));
    let tasks = meta.flat_map(|node| node.descendants()).filter(|node| {
        let above = node.parent().map(|above| above.tag_name().name());
        matches!(node.tag_name().name(), "task" | "job") && matches!(above, Some("meta" | "tasks"))
    });
    let tasks: Vec<Node<'_, '_>> = tasks.collect();
    let mut last: HashMap<&str, i64> = HashMap::new();
    for track in tracks {
        let seen = track.keys.iter().filter(|key| !key.is_outside);
        let end = seen.map(|key| key.frame).max().unwrap_or(0);
        let known = last.entry(&track.task).or_insert(end);
        *known = end.max(*known);
    }
    let mut found = Vec::new();
    for task in &tasks {
        let id = child(*task, "id").unwrap_or_default();
        let is_meant = tasks.len() == 1 || last.contains_key(id);
        if !is_meant && child(*task, "original_size").is_none() {
            // Pictures, whose names this document does not have, and nothing is drawn on them.
            continue;
        }
        let end = if tasks.len() == 1 {
            last.values().copied().max().unwrap_or(0)
        } else {
            last.get(id).copied().unwrap_or(0)
        };
        found.push((id.to_owned(), frames_of(*task, id, end, all)?));
    }
    if found.is_empty() {
        return Err(without_size("a video"));
    }
    Ok(found)
}

fn without_size(what: &str) -> Wrong {
    let what = format!("{what} without its size (no original_size in its meta)");
    (
        what,
        "export it again from the task of the video, or as `CVAT for images 1.1`",
    )
}

fn frames_of(
    task: Node<'_, '_>,
    id: &str,
    last: i64,
    all: &mut Annotations,
) -> Result<Frames, Wrong> {
    let name = format!("{} {id}", task.tag_name().name());
    let name = name.trim_end().to_owned();
    let number = |name: &str| -> Option<i64> { child(task, name)?.parse().ok() };
    let original = task
        .children()
        .find(|node| node.has_tag_name("original_size"));
    let side = |name| -> Option<f64> { child(original?, name)?.parse().ok() };
    let size = side("width").zip(side("height"));
    let (width, height) = size.ok_or_else(|| without_size(&name))?;
    let (width, height) = sound::size(width, height)
        .map_err(|what| wrong(format!("{what}, original_size of {name}")))?;
    let step = child(task, "frame_filter")
        .and_then(|filter| filter.split("step=").nth(1)?.trim().parse().ok())
        .filter(|&step: &i64| step > 0)
        .unwrap_or(1);
    let start = number("start_frame")
        .filter(|&start| start >= 0)
        .unwrap_or(0);
    let end = number("stop_frame").or_else(|| {
        let count = number("size").filter(|&count| count > 0)?;
        start.checked_add((count - 1).checked_mul(step)?)
    });
    let end = end.unwrap_or(last);
    let count = end
        .checked_sub(start)
        .map_or(i64::MAX, |range| (range / step).saturating_add(1));
    if end < start || count > MAX_FRAMES {
        let what = format!("frames {start} to {end} of {name}, where 1 to {MAX_FRAMES} can be");
        return Err(wrong(what));
    }
    let folder = child(task, "subset").filter(|subset| !subset.is_empty());
    let folder = folder.map_or_else(String::new, |subset| format!("{subset}/"));
    let mut frames = Frames::new();
    for frame in (0..count).map(|index| start + index * step) {
        frames.insert(frame, all.pictures.len());
        all.pictures.push(Annotated {
            file: format!("{folder}frame_{frame:06}.png"),
            origin: format!("frame {frame} of {name}"),
            width,
            height,
            shapes: Vec::new(),
        });
    }
    Ok(frames)
}

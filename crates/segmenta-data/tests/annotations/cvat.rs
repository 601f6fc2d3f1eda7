//! CVAT's XML, of pictures and of videos.

use segmenta_data::annotation::cvat;

use crate::{here, mask, read, refused};

fn cvat_of(meta: &str, body: &str) -> String {
    format!(
        "<annotations><version>1.1</version><meta><task>{meta}</task></meta>{body}</annotations>"
    )
}

const LABELS: &str = "<labels><label><name>x</name></label><label><name>y</name></label>\
    <label><name>arm</name><type>skeleton</type></label><label><name>1</name><type>points</type><parent>arm</parent></label></labels>";

fn image(shapes: &str) -> String {
    format!(r#"<image id="0" name="a.png" width="8" height="4">{shapes}</image>"#)
}

#[test]
fn cvat_turns_boxes_and_ellipses() {
    // A box of 4×2 around (3, 2) turned upright.
    let shapes = r#"<box label="x" xtl="1" ytl="1" xbr="5" ybr="3" rotation="90.00" z_order="0"/>"#;
    let (all, said) = read(cvat::parse(&cvat_of(LABELS, &image(shapes)), here()));
    assert_eq!(all.classes, ["background", "x", "y", "arm"]);
    assert_eq!(mask(&all, 0), vec!["00110000"; 4]);
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn cvat_s_elements_without_pixels_are_counted() {
    let shapes = r#"<tag label="x"/><polyline label="x" points="0,0;1,1"/><points label="x" points="1,1"/>
        <skeleton label="arm"><points label="1" points="1,1" outside="0" occluded="0"/></skeleton>
        <cuboid label="x" xtl1="0"/><polygon label="x" points="0,0;1,1"/><star label="x"/>
        <mask label="y" rle="1, 2, 1" left="6" top="0" width="2" height="2" z_order="3" occluded="1"/>
        <box label="z" xtl="6" ytl="0" xbr="8" ybr="1"/>"#;
    let (all, said) = read(cvat::parse(&cvat_of(LABELS, &image(shapes)), here()));
    assert_eq!(mask(&all, 0)[..2], ["00000042", "00000020"]);
    for wanted in [
        "1 tag on whole pictures",
        "1 shape of the type polyline",
        "1 shape of the type points",
        "1 shape of the type skeleton",
        "1 shape of the type cuboid",
        "1 shape of the unknown type star",
        "1 polygon of fewer than 3 points: left out (first: image 0 (a.png), 2 of 3 points)",
        "1 label of shapes that the task does not list: added to the classes (first: z, image 0 (a.png))",
    ] {
        assert!(
            said.iter().any(|text| text.starts_with(wanted)),
            "{wanted}\n{said:#?}"
        );
    }
}

#[test]
fn cvat_s_tracks_are_drawn_frame_by_frame() {
    let meta = format!(
        "<id>5</id><size>7</size><mode>interpolation</mode><start_frame>10</start_frame><stop_frame>16</stop_frame>\
         <frame_filter></frame_filter>{LABELS}<original_size><width>8</width><height>2</height></original_size>"
    );
    let tracks = r#"<track id="0" label="x">
            <box frame="10" outside="0" keyframe="1" xtl="0" ytl="0" xbr="2" ybr="2" z_order="0"/>
            <box frame="14" outside="1" keyframe="1" xtl="4" ytl="0" xbr="6" ybr="2" z_order="0"/>
        </track><track id="1" label="y">
            <polygon frame="15" outside="0" keyframe="1" points="0,0;1,0;1,1;0,1" z_order="-1"/>
            <polygon frame="99" outside="1" keyframe="1" points="0,0;1,0;1,1;0,1"/>
        </track><track id="2" label="y">
            <mask frame="11" outside="0" keyframe="1" rle="0, 2" left="1" top="0" width="2" height="1" z_order="-1"/>
        </track><track id="3" label="x"><points frame="10" outside="0" keyframe="1" points="1,1"/></track>"#;
    let (all, said) = read(cvat::parse(&cvat_of(&meta, tracks), here()));
    let files: Vec<&str> = all.pictures.iter().map(|p| &*p.file).collect();
    assert_eq!(
        (files.len(), files[0], files[6]),
        (7, "frame_000010.png", "frame_000016.png")
    );
    let rows: Vec<String> = (0..7)
        .map(|frame| mask(&all, frame).swap_remove(0))
        .collect();
    // Track 0 moves a pixel a frame until it is outside; track 2 is a mask in its own frame alone, below track 0.
    assert_eq!(
        rows,
        [
            "11000000", "01100000", "00110000", "00011000", "00000000", "20000000", "20000000"
        ]
    );
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("type points"), "{said:?}");
}

#[test]
fn a_step_between_frames_is_kept() {
    let meta = format!(
        "<start_frame>0</start_frame><stop_frame>8</stop_frame><frame_filter>step=4</frame_filter>{LABELS}\
         <original_size><width>8</width><height>1</height></original_size>"
    );
    let track = r#"<track id="0" label="x"><box frame="0" xtl="0" ytl="0" xbr="1" ybr="1"/>
        <box frame="8" xtl="4" ytl="0" xbr="5" ybr="1"/></track>"#;
    let (all, _) = read(cvat::parse(&cvat_of(&meta, track), here()));
    let rows: Vec<String> = (0..3)
        .map(|frame| mask(&all, frame).swap_remove(0))
        .collect();
    assert_eq!(rows, ["10000000", "00100000", "00001000"]);
    assert_eq!(all.pictures[1].file, "frame_000004.png");
}

#[test]
fn cvat_that_contradicts_itself_is_refused() {
    let size = "<original_size><width>8</width><height>2</height></original_size>";
    let track = |shapes: &str| format!(r#"<track id="3" label="x">{shapes}</track>"#);
    let shape = |frame: i32| format!(r#"<box frame="{frame}" xtl="0" ytl="0" xbr="1" ybr="1"/>"#);
    for (meta, body, words) in [
        (
            LABELS.to_owned(),
            track(&shape(0)),
            &["without its size"][..],
        ),
        (
            format!("{LABELS}{size}"),
            track(&format!("{}{}", shape(4), shape(4))),
            &["two shapes of track 3", "frame 4"],
        ),
        (
            format!("{LABELS}{size}"),
            track(&format!(
                r#"{}<ellipse frame="9" cx="1" cy="1" rx="1" ry="1"/>"#,
                shape(4)
            )),
            &["track 3", "box in frame 4", "ellipse in frame 9"],
        ),
        (
            format!("{LABELS}{size}<stop_frame>99999999999</stop_frame>"),
            track(&shape(0)),
            &["frames 0 to 99999999999"],
        ),
        (
            format!("{LABELS}{size}<stop_frame>9223372036854775807</stop_frame>"),
            track(&shape(0)),
            &["frames 0 to 9223372036854775807"],
        ),
        (
            LABELS.to_owned(),
            String::new(),
            &["neither an image nor a track"],
        ),
        (
            LABELS.to_owned(),
            image(r#"<ellipse label="x" cx="1" cy="1" rx="-4" ry="1"/>"#),
            &["radii -4 and 1", "a.png"],
        ),
        (
            LABELS.to_owned(),
            image(r#"<box label="x" xtl="nan" ytl="1" xbr="1" ybr="1"/>"#),
            &["xtl `nan`", "a.png"],
        ),
        (
            LABELS.to_owned(),
            image(r#"<polygon label="x" points="1,1;2,inf;3,3"/>"#),
            &["`2,inf`", "a.png"],
        ),
        (
            LABELS.to_owned(),
            image(r#"<mask label="x" rle="1, 2" left="0" top="0" width="2" height="2"/>"#),
            &["3 pixels for 2×2", "a.png"],
        ),
        (
            LABELS.to_owned(),
            image(
                r#"<mask label="x" rle="1" left="0" top="0" width="999999999" height="999999999"/>"#,
            ),
            &["999999999×999999999", "a.png"],
        ),
        (
            LABELS.to_owned(),
            r#"<image id="0" name="a.png" width="0" height="4"/>"#.to_owned(),
            &["0×4", "a.png"],
        ),
    ] {
        refused(cvat::parse(&cvat_of(&meta, &body), here()), words);
    }
    for (text, words) in [
        (
            "<annotation><object><bndbox/></object></annotation>",
            &["Pascal VOC"][..],
        ),
        ("<svg/>", &["svg"]),
        ("", &["empty"]),
        (
            "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;\">]><annotations>&c;</annotations>",
            &["DTD"],
        ),
    ] {
        refused(cvat::parse(text, here()), words);
    }
    // Nested without end: read or refused, but in time and memory.
    let deep = "<a>".repeat(1 << 16) + &"</a>".repeat(1 << 16);
    let _ = cvat::parse(&cvat_of("", &deep), here());
}

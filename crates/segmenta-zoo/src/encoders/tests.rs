use super::*;

/// Channels as SMP's tables have them.
#[test]
fn stages_halve_and_have_the_channels_of_the_papers() {
    let channels = |name: &str| -> Vec<usize> {
        let stages = find_encoder(name).unwrap().stages().unwrap();
        stages.iter().map(|s| s.channels).collect()
    };
    assert_eq!(channels("resnet18"), [64, 64, 128, 256, 512]);
    assert_eq!(channels("resnext101_32x48d"), [64, 256, 512, 1024, 2048]);
    assert_eq!(channels("senet154"), [128, 256, 512, 1024, 2048]);
    assert_eq!(channels("dpn107"), [128, 376, 1152, 2432, 2688]);
    assert_eq!(channels("densenet161"), [96, 384, 768, 2112, 2208]);
    assert_eq!(channels("vgg19_bn"), [128, 256, 512, 512, 512]);
    assert_eq!(channels("inceptionv4"), [64, 192, 384, 1024, 1536]);
    assert_eq!(channels("inceptionresnetv2"), [64, 192, 320, 1088, 1536]);
    assert_eq!(channels("xception"), [64, 128, 256, 728, 2048]);
    assert_eq!(channels("mobilenet_v2"), [16, 24, 32, 96, 1280]);
    assert_eq!(channels("mobilenet_v3_large"), [16, 24, 40, 112, 960]);
    assert_eq!(channels("mobileone_s4"), [64, 192, 448, 896, 2048]);
    assert_eq!(channels("efficientnet-b7"), [64, 48, 80, 224, 640]);
    assert_eq!(channels("timm-efficientnet-l2"), [136, 104, 176, 480, 1376]);
    assert_eq!(
        channels("timm-tf_efficientnet_lite4"),
        [32, 32, 56, 160, 448]
    );
    assert_eq!(channels("mit_b5"), [64, 128, 320, 512]);
    assert_eq!(channels("tu-hrnet_w48"), [64, 128, 256, 512, 1024]);
    assert_eq!(channels("mobilenetv4_conv_small"), [32, 32, 64, 96, 960]);
    assert_eq!(channels("tf_efficientnetv2_m"), [24, 48, 80, 176, 512]);
    assert_eq!(channels("convnext_large"), [192, 384, 768, 1536]);
    for encoder in encoders() {
        let strides: Vec<usize> = encoder.stages().unwrap().iter().map(|s| s.stride).collect();
        let all: &[usize] = if strides.len() == 1 {
            &[16]
        } else {
            &[2, 4, 8, 16, 32]
        };
        assert_eq!(
            strides,
            all[all.len() - strides.len()..],
            "{}",
            encoder.name
        );
    }
}

#[test]
fn an_encoder_is_known_by_its_entries() {
    for encoder in encoders() {
        let name = &Scope::root() / "encoder";
        let grey = encoder.parameters(&name, 1).unwrap();
        let shape_of = |entry: &str| {
            let found = grey.iter().find(|p| p.name == entry);
            found.map(|p| p.shape.clone())
        };
        assert_eq!(recognise(&name, &shape_of), Some(encoder));
        assert_eq!(nearest_encoder(&name, &shape_of), Some(encoder));
    }
    assert_eq!(recognise(&Scope::root(), &|_| None), None);
}

#[test]
fn an_encoder_with_a_strange_entry_is_still_the_nearest() {
    let name = Scope::root();
    let resnet = find_encoder("resnet34").unwrap();
    let entries = resnet.parameters(&name, 3).unwrap();
    let shape_of = |entry: &str| {
        let found = entries.iter().find(|p| p.name == entry);
        let shape = found.map(|p| p.shape.clone());
        shape.filter(|_| entry != "layer4.2.bn2.weight")
    };
    // All of a shallower one is there as well.
    assert_eq!(recognise(&name, &shape_of), find_encoder("resnet18").ok());
    assert_eq!(nearest_encoder(&name, &shape_of), Some(resnet));
}

#[test]
fn densenets_first_names_are_known() {
    let old = "encoder.features.denseblock1.denselayer12.norm.2.running_mean";
    let new = "encoder.features.denseblock1.denselayer12.norm2.running_mean";
    assert_eq!(former_name(new).as_deref(), Some(old));
    for other in [
        "features.norm5.weight",
        "features.transition1.conv.weight",
        "denselayerx.norm1.w",
    ] {
        assert_eq!(former_name(other), None);
    }
}

#[test]
fn names_are_given_once_and_families_are_not_empty() {
    let names: Vec<&str> = encoders().map(|e| e.name).collect();
    let once: std::collections::HashSet<_> = names.iter().collect();
    assert_eq!(once.len(), names.len());
    for family in families() {
        assert!(!family.encoders.is_empty() && !family.name.is_empty());
        for encoder in family.encoders {
            assert_eq!(encoder.family().name, family.name);
            let parameters = encoder.parameters(&Scope::root(), 3).unwrap();
            assert!(
                parameters.iter().any(|p| p.name == family.entry),
                "{}",
                encoder.name
            );
        }
    }
}

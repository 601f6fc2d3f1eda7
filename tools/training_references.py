"""Writes what PyTorch's optimisers, schedules, clipping and averages compute where training.json says nothing.

    python tools/training_references.py conformance/pieces/training_settings.json

Needs torch and numpy. `spec` is what Segmenta's configurations say; inputs are as in training.json
(docs/conformance.md): parameter `optim/p`, gradients `optim/g0` and on.
"""

import json
import sys

import torch

from formula import centred

STEPS = 5
SCHEDULE_STEPS = 40


def optimiser(make):
    p = torch.nn.Parameter(torch.from_numpy(centred("optim/p", (8,))))
    o = make([p])
    trajectory = []
    for k in range(STEPS):
        p.grad = torch.from_numpy(centred(f"optim/g{k}", (8,)))
        o.step()
        trajectory.append(p.detach().tolist())
    return trajectory


def schedule(make, momentum=0.0, scores=None):
    p = torch.nn.Parameter(torch.zeros(1))
    o = torch.optim.SGD([p], lr=0.1, momentum=momentum)
    s = make(o)
    rates, momenta = [], []
    for k in range(SCHEDULE_STEPS):
        rates.append(o.param_groups[0]["lr"])
        momenta.append(o.param_groups[0]["momentum"])
        o.step()
        s.step(scores[k]) if scores else s.step()
    return dict(lr=rates, momentum=momenta)


def clipped(limit):
    """Gradients of three parameters after clip_grad_norm_, and the norm before."""
    parameters = [torch.nn.Parameter(torch.zeros(n)) for n in (8, 3, 21)]
    for k, p in enumerate(parameters):
        p.grad = torch.from_numpy(centred(f"clip/g{k}", (len(p),)))
    norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
    return dict(limit=limit, norm=norm.item(), gradients=[p.grad.tolist() for p in parameters])


def average(decay):
    model = torch.nn.Linear(8, 1, bias=False)
    ema = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(decay))
    trajectory = []
    for k in range(STEPS):
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(centred(f"optim/g{k}", (1, 8))))
        ema.update_parameters(model)
        trajectory.append(ema.module.weight.flatten().tolist())
    return dict(decay=decay, trajectory=trajectory)


def main():
    O, S = torch.optim, torch.optim.lr_scheduler
    optimisers = []
    for name, make, settings in (
        ("sgd", O.SGD, dict(lr=0.1, momentum=0.8, dampening=0.3, weight_decay=0.01)),
        ("sgd", O.SGD, dict(lr=0.05, momentum=0.9, weight_decay=0.1, nesterov=True)),
        ("adam", O.Adam, dict(lr=0.02, betas=[0.8, 0.9], eps=1e-2, weight_decay=0.1)),
        ("adamw", O.AdamW, dict(lr=0.02, betas=[0.7, 0.95], eps=1e-3)),
        ("rmsprop", O.RMSprop, dict(lr=0.02, alpha=0.9, eps=1e-3, weight_decay=0.1)),
        ("rmsprop", O.RMSprop, dict(lr=0.02, momentum=0.8)),
        ("rmsprop", O.RMSprop, dict(lr=0.02, centered=True)),
        ("rmsprop", O.RMSprop, dict(lr=0.02, alpha=0.8, momentum=0.7, centered=True, weight_decay=0.01)),
        ("sgd", O.SGD, {}),
        ("adam", O.Adam, {}),
        ("adamw", O.AdamW, {}),
        ("rmsprop", O.RMSprop, {}),
    ):
        trajectory = optimiser(lambda p: make(p, **settings))
        optimisers.append(dict(spec=dict(name=name, **settings), trajectory=trajectory))

    # Progress, a long plateau, noise.
    scores = [1 / (1 + k) if k < 8 else 0.125 + 0.01 * (k * 7 % 5) for k in range(SCHEDULE_STEPS)]
    schedules = []

    def add(spec, make, **more):
        values = schedule(make, **more)
        schedules.append(dict(spec=spec, scores=more.get("scores"), momentum=more.get("momentum", 0.0), values=values))

    add(dict(name="exponential", gamma=0.93), lambda o: S.ExponentialLR(o, 0.93))
    add(dict(name="step", step_size=6), lambda o: S.StepLR(o, 6))
    add(dict(name="poly"), lambda o: S.PolynomialLR(o, SCHEDULE_STEPS))
    add(dict(name="poly", total=12, power=2.5), lambda o: S.PolynomialLR(o, 12, 2.5))
    add(dict(name="cosine", total=13, min_lr=0.02), lambda o: S.CosineAnnealingLR(o, 13, 0.02))
    add(dict(name="linear"), lambda o: S.LinearLR(o))
    add(dict(name="linear", start_factor=1.0, end_factor=0.1, total=20), lambda o: S.LinearLR(o, 1.0, 0.1, 20))
    add(dict(name="constant"), lambda o: S.ConstantLR(o))
    add(dict(name="constant", factor=0.5, total=9), lambda o: S.ConstantLR(o, 0.5, 9))
    one = lambda o, **more: S.OneCycleLR(o, 0.1, total_steps=SCHEDULE_STEPS + 1, **more)
    total = dict(name="one_cycle", total=SCHEDULE_STEPS + 1)
    add(total, one, momentum=0.9)
    linear = dict(anneal_strategy="linear", pct_start=0.4, div_factor=10.0, final_div_factor=100.0)
    add(dict(**total, **linear), lambda o: one(o, **linear), momentum=0.9)
    add(dict(**total, three_phase=True), lambda o: one(o, three_phase=True), momentum=0.9)
    fixed = dict(cycle_momentum=False)
    add(dict(**total, **fixed), lambda o: one(o, **fixed), momentum=0.9)
    for settings in (
        dict(patience=2),
        dict(mode="max", factor=0.5, patience=1, cooldown=2, min_lr=0.004),
        dict(threshold=0.02, threshold_mode="abs", patience=0, factor=0.7),
    ):
        make = lambda o: S.ReduceLROnPlateau(o, **settings)
        add(dict(name="plateau", **settings), make, scores=scores)
    warm = dict(name="linear", start_factor=0.1, total=5)
    add(
        dict(name="sequential", schedules=[warm, dict(name="cosine")], milestones=[5]),
        lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.1, 1.0, 5), S.CosineAnnealingLR(o, SCHEDULE_STEPS - 5)], [5]),
    )
    held = dict(name="constant", factor=0.2, total=4)
    rest = [dict(name="exponential", gamma=0.9), dict(name="step", step_size=3, gamma=0.5)]
    add(
        dict(name="sequential", schedules=[held, *rest], milestones=[4, 15]),
        lambda o: S.SequentialLR(o, [S.ConstantLR(o, 0.2, 4), S.ExponentialLR(o, 0.9), S.StepLR(o, 3, 0.5)], [4, 15]),
    )
    add(
        dict(name="chained", schedules=[held, rest[0], dict(name="cosine")]),
        lambda o: S.ChainedScheduler(
            [S.ConstantLR(o, 0.2, 4), S.ExponentialLR(o, 0.9), S.CosineAnnealingLR(o, SCHEDULE_STEPS)]
        ),
    )
    add(
        dict(name="chained", schedules=[warm, dict(name="multi_step", milestones=[7, 19], gamma=0.3)]),
        lambda o: S.ChainedScheduler([S.LinearLR(o, 0.1, 1.0, 5), S.MultiStepLR(o, [7, 19], 0.3)]),
    )
    clips = [clipped(limit) for limit in (0.5, 3.0, 1000.0)]
    averages = [average(decay) for decay in (0.999, 0.6)]
    with open(sys.argv[1], "w") as file:
        json.dump(dict(optimisers=optimisers, schedules=schedules, clips=clips, averages=averages), file)
    print(len(optimisers), "optimisers,", len(schedules), "schedules")


if __name__ == "__main__":
    main()

"""How people and the ball move: a simulated game, and pedestrians who cross a plaza."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .figure import Look, Pose, random_colour
from .surfaces import COURT, RIM

BENCH_Y = -9.0
"""Where substitutes wait: in front of the camera's field of view."""

SPOTS = np.array([[8.0, 7.5], [7.0, 2.2], [7.0, 12.8], [2.6, 4.6], [3.0, 10.6]])
"""Where the attackers stand around the left basket."""


@dataclass
class Person:
    """A person with an id that never changes."""

    id: int
    kind: str  # player, referee, person
    look: Look
    pose: Pose
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    top_speed: float = 6.0
    away: bool = False  # nowhere to be seen

    def move(self, target: np.ndarray, dt: float, others: list[Person], eager: float = 1.0) -> None:
        """Walks or runs towards a target for `dt`, around others."""
        pose = self.pose
        offset = target - pose.position
        distance = float(np.linalg.norm(offset))
        wanted = offset / max(distance, 1e-6) * min(self.top_speed * eager, 1.6 * distance)
        for other in others:
            between = pose.position - other.pose.position
            gap = float(np.linalg.norm(between))
            if other is not self and 1e-6 < gap < 0.8:
                wanted = wanted + between / gap * (0.8 - gap) * 5
        change = wanted - self.velocity
        limit = 7.0 * dt
        size = float(np.linalg.norm(change))
        self.velocity = self.velocity + change * min(1.0, limit / max(size, 1e-6))
        pose.position = pose.position + self.velocity * dt
        pose.speed = float(np.linalg.norm(self.velocity))
        pose.phase += dt * (2.0 + 1.9 * min(pose.speed, 6.0)) if pose.speed > 0.15 else 0.0

    def face(self, direction: np.ndarray, dt: float) -> None:
        """Turns towards a direction, at most half a turn in 0.4 s."""
        wanted = float(np.arctan2(direction[1], direction[0]))
        difference = (wanted - self.pose.heading + np.pi) % (2 * np.pi) - np.pi
        self.pose.heading += float(np.clip(difference, -8 * dt, 8 * dt))


@dataclass
class Ball:
    """The ball: in the hands of a player, or on its way between two points."""

    position: np.ndarray
    start: np.ndarray
    end: np.ndarray
    flight: float = 0.0  # seconds that it takes; 0 for none
    elapsed: float = 0.0
    peak: float = 0.0

    def throw(self, end: np.ndarray, speed: float, peak: float) -> None:
        self.start, self.end, self.peak = self.position.copy(), end, peak
        self.elapsed, self.flight = 0.0, max(0.2, float(np.linalg.norm(end - self.start)) / speed)

    def fly(self, dt: float) -> bool:
        """Moves along the flight. Returns whether it has arrived."""
        self.elapsed = min(self.flight, self.elapsed + dt)
        share = self.elapsed / self.flight
        self.position = self.start + share * (self.end - self.start)
        self.position[2] += 4 * self.peak * share * (1 - share)
        return self.elapsed >= self.flight


class Game:
    """Two teams of five with substitutes, two or three referees, and the ball."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.time = 0.0
        self.attacking, self.handler = int(rng.integers(2)), 0
        self.hold_until, self.attack_until = 1.0, 14.0
        self.people: list[Person] = []
        uniforms = [self._uniform() for _ in range(2)]
        for team, (top, bottom, number) in enumerate(uniforms):
            for k in range(7):
                look = Look.random(rng, tall=True).dressed(top, bottom, int(rng.integers(100)), number)
                place = self._spot(k, team) if k < 5 else self._bench(team)
                self._add("player", look, place, away=k >= 5)
        official = random_colour(rng, dark=True) if rng.random() < 0.5 else (170, 170, 175)
        for k in range(int(rng.integers(2, 4))):
            look = Look.random(rng, tall=False).dressed(official, (25, 25, 28), None, official)
            self._add("referee", look, np.array([6.0 + 8 * k, -0.7 if k % 2 else COURT[1] + 0.7]))
        self.on_court = [[0, 1, 2, 3, 4], [7, 8, 9, 10, 11]]
        self.leaving: list[int] = []
        self.next_substitution = float(rng.uniform(6, 25))
        at = np.array([14.0, 7.5, 1.0])
        self.ball = Ball(at, at, at)

    def _uniform(self) -> tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]:
        top = (238, 238, 238) if self.rng.random() < 0.35 else random_colour(self.rng)
        bottom = top if self.rng.random() < 0.7 else random_colour(self.rng)
        return top, bottom, (20, 20, 20) if sum(top) > 380 else (240, 240, 240)

    def _add(self, kind: str, look: Look, place: np.ndarray, away: bool = False) -> None:
        pose = Pose(place.copy(), float(self.rng.uniform(0, 6.28)), float(self.rng.uniform(0, 6.28)), 0.0)
        speed = float(self.rng.uniform(4.8, 6.8))
        self.people.append(Person(len(self.people), kind, look, pose, top_speed=speed, away=away))

    def _spot(self, k: int, team: int) -> np.ndarray:
        """The place of an attacker, or of the defender in front of it."""
        spot = SPOTS[k] + self.rng.normal(0, 0.3, 2)
        if team != self.attacking:
            spot = spot + 0.28 * (RIM[:2] - spot)
        return spot if self.attacking == 0 else np.array([COURT[0], COURT[1]]) - spot

    def _bench(self, team: int) -> np.ndarray:
        return np.array([9.0 if team == 0 else 19.0, BENCH_Y]) + self.rng.normal(0, 0.8, 2)

    @property
    def focus(self) -> np.ndarray:
        """What the camera follows [2]."""
        active = [self.people[i].pose.position for team in self.on_court for i in team]
        return 0.55 * self.ball.position[:2] + 0.45 * np.mean(active, axis=0)

    def step(self, dt: float) -> None:
        """Advances the game by `dt`."""
        self.time += dt
        self._decide()
        present = [person for person in self.people if not person.away]
        basket = RIM[:2] if self.attacking == 0 else np.array([COURT[0] - RIM[0], COURT[1] - RIM[1]])
        for team, members in enumerate(self.on_court):
            for k, i in enumerate(members):
                self._move_player(self.people[i], team, k, basket, dt, present)
        for i in list(self.leaving):
            person = self.people[i]
            target = np.array([person.pose.position[0], BENCH_Y])
            person.move(target, dt, present, eager=0.5)
            person.face(target - person.pose.position, dt)
            if person.pose.position[1] < BENCH_Y + 1:
                person.away = True
                self.leaving.remove(i)
        for k, person in enumerate(self.people[14:]):
            ahead = self.ball.position[0] + (-3.0, 4.0, 0.0)[k]
            target = np.array([np.clip(ahead, -0.5, COURT[0] + 0.5), -0.6 if k % 2 else COURT[1] + 0.6])
            person.move(target, dt, present, eager=0.7)
            person.face(self.ball.position[:2] - person.pose.position, dt)
        self._move_ball(dt)

    def _move_player(
        self, person: Person, team: int, k: int, basket: np.ndarray, dt: float, present: list[Person]
    ) -> None:
        pose = person.pose
        rng = np.random.default_rng((person.id, int(self.time / 1.7)))
        spot = SPOTS[k] if self.attacking == 0 else np.array(COURT) - SPOTS[k]
        target = spot + rng.normal(0, 1.3, 2)
        if team != self.attacking:
            marked = self.people[self.on_court[self.attacking][k]].pose.position
            target = marked + 0.22 * (basket - marked) + rng.normal(0, 0.25, 2)
        person.move(target, dt, present)
        has_ball = team == self.attacking and k == self.handler and self.ball.flight == 0
        direction = person.velocity if pose.speed > 1.5 else self.ball.position[:2] - pose.position
        person.face(direction, dt)
        near = float(np.linalg.norm(basket - pose.position)) < 9
        defends = team != self.attacking and near and pose.speed < 2.5
        pose.arms = "front" if has_ball else "wide" if defends and k in (self.handler, (self.handler + 1) % 5) else "swing"
        pose.crouch = 0.45 if defends else 0.15 if has_ball else 0.0
        pose.lift = max(0.0, pose.lift - 2.2 * dt)
        if self.ball.flight > 0 and self.ball.peak > 1 and self.ball.elapsed < 0.4 and k == self.handler:
            pose.arms, pose.lift = "up", max(pose.lift, 0.35 * float(np.sin(np.pi * self.ball.elapsed / 0.4)))

    def _decide(self) -> None:
        """Passes, shots, the change of sides, and substitutions."""
        rng, ball = self.rng, self.ball
        if ball.flight == 0 and self.time > self.attack_until:
            end = RIM.copy() if self.attacking == 0 else np.array([COURT[0] - RIM[0], RIM[1], RIM[2]])
            ball.throw(end, 9.0, 2.2)
        elif ball.flight == 0 and self.time > self.hold_until:
            self.handler = int((self.handler + rng.integers(1, 5)) % 5)
            receiver = self.people[self.on_court[self.attacking][self.handler]].pose.position
            ball.throw(np.array([*receiver, 1.2]), 10.0, 0.4)
        if self.time > self.next_substitution:
            self.next_substitution = self.time + float(rng.uniform(8, 30))
            team, k = int(rng.integers(2)), int(rng.integers(5))
            waiting = [i for i in range(7 * team, 7 * team + 7) if self.people[i].away]
            if waiting:
                leaves, enters = self.on_court[team][k], int(rng.choice(waiting))
                self.on_court[team][k] = enters
                self.leaving.append(leaves)
                self.people[enters].away = False
                self.people[enters].pose.position = self._bench(team)

    def _move_ball(self, dt: float) -> None:
        ball = self.ball
        if ball.flight > 0:
            if not ball.fly(dt):
                return
            if ball.peak > 1:
                # A basket: the other team attacks the other side.
                self.attacking, self.handler = 1 - self.attacking, int(self.rng.integers(5))
                self.attack_until = self.time + float(self.rng.uniform(9, 22))
                holder = self.people[self.on_court[self.attacking][self.handler]].pose.position
                ball.throw(np.array([*holder, 1.0]), 6.0, 0.2)
                return
            ball.flight = 0.0
            self.hold_until = self.time + float(self.rng.uniform(0.8, 3.5))
        holder = self.people[self.on_court[self.attacking][self.handler]].pose
        hand = holder.position + 0.38 * np.array([np.cos(holder.heading - 0.5), np.sin(holder.heading - 0.5)])
        dribble = 0.12 + 0.85 * abs(float(np.cos(4.2 * self.time))) if holder.speed > 0.8 else 1.15
        ball.position = np.array([*hand, dribble])


class Plaza:
    """Pedestrians who cross a plaza around the origin, alone and in groups; some stop for a while."""

    def __init__(self, rng: np.random.Generator, extent: float) -> None:
        self.rng, self.extent = rng, extent
        self.time = 0.0
        self.people: list[Person] = []
        self.targets: list[np.ndarray] = []
        self.pauses: list[tuple[float, float]] = []
        self.rate = float(rng.uniform(0.15, 0.8))
        for _ in range(int(rng.integers(2, 11))):
            self._arrive(rng.uniform(-0.7, 0.7, 2) * extent)

    @property
    def focus(self) -> np.ndarray:
        """What the camera looks at [2]."""
        return np.zeros(2)

    def _edge(self) -> np.ndarray:
        side, along = int(self.rng.integers(4)), float(self.rng.uniform(-1, 1)) * self.extent
        far = (1 if side % 2 else -1) * self.extent
        return np.array([far, along] if side < 2 else [along, far])

    def _arrive(self, place: np.ndarray) -> None:
        rng = self.rng
        target, size = self._edge(), 2 if rng.random() < 0.25 else 1
        for _ in range(size):
            start = place + rng.normal(0, 0.4, 2)
            pose = Pose(start, float(rng.uniform(0, 6.28)), float(rng.uniform(0, 6.28)), 0.0)
            look, speed = Look.random(rng, tall=False), float(rng.uniform(0.7, 1.9))
            self.people.append(Person(len(self.people), "person", look, pose, top_speed=speed))
            self.targets.append(target + rng.normal(0, 0.4, 2))
            begin = float(rng.uniform(0, 40)) if rng.random() < 0.4 else np.inf
            self.pauses.append((self.time + begin, self.time + begin + float(rng.uniform(2, 12))))

    def step(self, dt: float) -> None:
        """Advances by `dt`."""
        self.time += dt
        present = [person for person in self.people if not person.away]
        if len(present) < 14 and self.rng.random() < self.rate * dt:
            self._arrive(self._edge())
        for person in present:
            target, (begin, end) = self.targets[person.id], self.pauses[person.id]
            paused = begin < self.time < end
            person.move(person.pose.position if paused else target, dt, present)
            if person.pose.speed > 0.2:
                person.face(person.velocity, dt)
            person.away = bool(np.linalg.norm(target - person.pose.position) < 1.0)

"""Furniture: seats, tables and what belongs to them, beds."""

import numpy as np

from .objects import Object
from .shapes import ball, bar, box, cushion, cylinder, mat, panel, place, tilt, turned
from .storage import Storage


class Workshop(Storage):
    """Makes the furniture of one room; all stands on the centre of its footprint with its back at -y."""

    def chair(self) -> Object:
        """A chair with a frame of wood or metal, or an upholstered one."""
        chair = self._object("chair")
        width, depth, seat = self._between(0.4, 0.48), self._between(0.4, 0.47), self._between(0.42, 0.47)
        back, lean = self._between(0.4, 0.55), self._between(0.08, 0.2)
        frame = self.materials.pick(self._one("wood", "metal", "plastic"))
        soft = self.materials.pick(self._one("cloth", "sofa", "wood", "plastic"))
        splay, radius = self._between(0.0, 0.05), self._between(0.012, 0.022)
        for x in (-1.0, 1.0):
            for y in (-1.0, 1.0):
                foot = (x * (width / 2 - 0.02), y * (depth / 2 - 0.02), 0)
                top = (x * (width / 2 - 0.03 - splay), y * (depth / 2 - 0.03 - splay), seat - 0.03)
                chair.add(bar(foot, top, radius, radius * 1.2), frame)
        chair.add(cushion((width, depth, 0.05), (0, 0, seat - 0.04), 0.022, self._between(0, 0.5)), soft)
        upright = tilt(lean, seat - 0.01, -depth / 2 + 0.03)
        style = self._one("board", "slats", "spindles", "cushion")
        for x in (-1.0, 1.0):
            chair.add(
                bar((x * (width / 2 - 0.03), 0, 0), (x * (width / 2 - 0.04), 0, back), radius).moved(upright), frame
            )
        if style == "board":
            chair.add(cushion((width - 0.07, 0.02, back * 0.5), (0, 0, back * 0.45), 0.009).moved(upright), soft)
        elif style == "cushion":
            chair.add(cushion((width, 0.05, back * 0.9), (0, 0, back * 0.1), 0.024).moved(upright), soft)
        elif style == "slats":
            for index in range(3):
                slat = (0, 0, back * (0.25 + 0.27 * index))
                chair.add(box((width - 0.07, 0.014, back * 0.12), slat).moved(upright), frame)
        else:
            for x in np.linspace(-width / 2 + 0.09, width / 2 - 0.09, 5).tolist():
                chair.add(bar((x, 0, 0), (x, 0, back * 0.92), 0.007, segments=6).moved(upright), frame)
            chair.add(box((width - 0.06, 0.022, back * 0.12), (0, 0, back * 0.88)).moved(upright), frame)
        return chair

    def office_chair(self) -> Object:
        """A swivel chair on a star of five feet."""
        chair = self._object("chair")
        dark, soft = self.materials.varied("metal"), self.materials.pick(self._one("cloth", "sofa", "plastic"))
        seat = self._between(0.44, 0.52)
        for angle in (np.arange(5) * 2 * np.pi / 5).tolist():
            tip = (0.29 * np.cos(angle), 0.29 * np.sin(angle), 0.06)
            chair.add(bar((0, 0, 0.1), tip, 0.022, 0.015), dark)
            chair.add(ball(0.03, (tip[0], tip[1], 0), segments=8), dark)
        chair.add(cylinder(0.025, seat - 0.12, (0, 0, 0.08)), dark)
        chair.add(cushion((0.48, 0.46, 0.08), (0, 0, seat - 0.06), 0.035, 0.3), soft)
        upright = tilt(self._between(0.05, 0.2), seat + 0.05, -0.22)
        chair.add(box((0.06, 0.02, 0.2), (0, -0.02, -0.1)).moved(upright), dark)
        chair.add(cushion((0.45, 0.07, self._between(0.4, 0.65)), (0, 0, 0.05), 0.03).moved(upright), soft)
        if self.random.uniform() < 0.6:
            for x in (-0.26, 0.26):
                chair.add(box((0.03, 0.04, 0.2), (x, 0, seat - 0.03)), dark)
                chair.add(cushion((0.06, 0.26, 0.03), (x, 0, seat + 0.17), 0.014), dark)
        return chair

    def sofa(self) -> Object:
        """A sofa or armchair with arms, seat and back cushions, pillows."""
        sofa = self._object("sofa")
        seats = int(self.random.choice((1, 2, 3), p=(0.2, 0.45, 0.35)))
        cloth, other = self.materials.pick("sofa"), self.materials.pick("cloth")
        arm, depth, seat = self._between(0.1, 0.22), self._between(0.78, 0.95), self._between(0.38, 0.46)
        each, back = self._between(0.55, 0.7), self._between(0.72, 0.9)
        inner = seats * each
        round_edge = self._between(0.03, 0.07)
        sofa.add(cushion((inner + 2 * arm, depth - 0.04, seat - 0.22), (0, 0, 0.08), 0.02), cloth)
        height = self._between(0.55, 0.65)
        for x in (-1.0, 1.0):
            sofa.add(cushion((arm, depth, height - 0.06), (x * (inner + arm) / 2, 0, 0.06), round_edge), cloth)
            for y in (-1.0, 1.0):
                foot = (x * (inner / 2), y * (depth / 2 - 0.1), 0)
                sofa.add(cylinder(0.022, 0.09, foot), self.materials.pick("wood"))
        sofa.add(cushion((inner, 0.2, back - 0.1), (0, -depth / 2 + 0.1, 0.1), round_edge), cloth)
        for index in range(seats):
            x = (index - (seats - 1) / 2) * each
            sofa.add(cushion((each - 0.01, depth - 0.22, 0.15), (x, 0.1, seat - 0.13), 0.04, 0.25), cloth)
            lean = tilt(0.17, seat + 0.03, -depth / 2 + 0.3)
            sofa.add(cushion((each - 0.02, 0.16, back - seat + 0.02), (x, 0, 0), 0.06).moved(lean), cloth)
        if self.random.uniform() < 0.3:
            sofa.add(
                cushion((each * 0.7, depth * 0.5, 0.02), (inner / 2 - each / 2, 0.12, seat + 0.03), 0.009, 1.0), other
            )
        for index in self.random.permutation(seats)[: self.random.integers(0, seats + 1)].tolist():
            pillow = self._object("pillow")
            size = self._between(0.34, 0.46)
            flat = cushion((size, size, 0.13), (0, 0, -0.06), 0.05, 0.5)
            pillow.add(flat.moved(tilt(np.pi / 2 - 0.45)), self.materials.pick("cloth"))
            x = (index - (seats - 1) / 2) * each
            sofa.put(pillow, place(x, -depth / 2 + 0.52, seat + 0.22, self._between(-0.3, 0.3)))
        return sofa

    def table(self, width: float, depth: float, height: float, label: str = "table", things: int = 4) -> Object:
        """A table: round or rectangular, on legs, trestles or one foot, with things on it."""
        table = self._object(label)
        top = self.materials.pick(self._one("wood", "wood", "front", "stone"))
        legs = self.materials.pick(self._one("wood", "metal"))
        thick = self._between(0.02, 0.05)
        if label == "table" and abs(width - depth) < 0.1:
            table.add(cylinder(width / 2, thick, (0, 0, height - thick), segments=28), top)
            table.add(
                turned(((0, 0), (width * 0.28, 0), (width * 0.25, 0.03), (0.04, 0.08), (0.04, height - thick))), legs
            )
            self.scatter(table, width * 0.7, width * 0.7, height, things)
            return table
        table.add(cushion((width, depth, thick), (0, 0, height - thick), 0.01), top)
        style = self._one("square", "round", "trestle")
        inset = self._between(0.04, 0.09)
        if style == "trestle":
            for x in (-1.0, 1.0):
                side = x * (width / 2 - 0.12)
                table.add(box((0.06, depth * 0.85, 0.05), (side, 0, 0)), legs)
                table.add(box((0.05, 0.12, height - thick - 0.05), (side, 0, 0.05)), legs)
            table.add(box((width - 0.3, 0.03, 0.08), (0, 0, height * 0.4)), legs)
        else:
            for x in (-1.0, 1.0):
                for y in (-1.0, 1.0):
                    foot = (x * (width / 2 - inset), y * (depth / 2 - inset), 0)
                    if style == "square":
                        table.add(box((0.05, 0.05, height - thick), foot), legs)
                    else:
                        table.add(cylinder(0.018, height - thick, foot, top=0.03), legs)
            for y in (-1.0, 1.0):
                table.add(
                    box((width - 2 * inset, 0.02, 0.07), (0, y * (depth / 2 - inset), height - thick - 0.07)), legs
                )
        self.scatter(table, width * 0.95, depth * 0.92, height, things)
        return table

    def dining(self) -> Object:
        """A table with chairs pushed more or less under it."""
        round_table = self.random.uniform() < 0.3
        width = self._between(0.9, 1.2) if round_table else self._between(1.1, 1.8)
        depth = width if round_table else self._between(0.75, 0.95)
        group = self.table(width, depth, self._between(0.71, 0.77), things=int(self.random.integers(3, 9)))
        chairs = int(self.random.integers(2, 5)) if round_table else 2 * int(self.random.integers(1, 3))
        chair = self.chair()  # those of a set are alike
        for index in range(chairs):
            out = self._between(-0.05, 0.25)
            turn = self._between(-0.2, 0.2)
            if round_table:
                angle = 2 * np.pi * index / chairs + 0.3
                reach = depth / 2 + 0.3 + out
                group.put(chair, place(reach * np.cos(angle), reach * np.sin(angle), 0, angle + np.pi / 2 + turn))
            else:
                side = 1 if index % 2 else -1
                per_side = chairs // 2
                x = (index // 2 - (per_side - 1) / 2) * (width - 0.2) / per_side
                group.put(chair, place(x, side * (depth / 2 + 0.16 + out), 0, (np.pi if side > 0 else 0) + turn))
        return group

    def desk(self) -> Object:
        """A desk with a screen, keyboard, things, and a swivel chair."""
        width, depth, height = self._between(1.0, 1.6), self._between(0.6, 0.8), self._between(0.71, 0.76)
        desk = self.table(width, depth, height, "desk", 0)
        dark = self.materials.varied("plastic")
        if self.random.uniform() < 0.5:
            side = self._one("left", "right")
            drawers = self.cabinet(0.4, depth - 0.15, height - 0.09, "cabinet", things=0)
            desk.put(drawers, place((width / 2 - 0.32) * (1 if side == "left" else -1), 0, 0))
        screens = int(self.random.integers(1, 3)) if width > 1.25 else 1
        for index in range(screens):
            monitor = self._object("otherprop")
            wide = self._between(0.48, 0.6)
            monitor.add(cylinder(0.11, 0.012), dark)
            monitor.add(box((0.05, 0.03, 0.2), (0, -0.02, 0.01)), dark)
            monitor.add(cushion((wide, 0.03, wide * 0.6), (0, 0, 0.12), 0.01), dark)
            monitor.add(panel(wide - 0.03, wide * 0.6 - 0.03, (0, 0.016, 0.135)), self.materials.pick("screen"))
            x = (index - (screens - 1) / 2) * 0.6 + self._between(-0.06, 0.06)
            desk.put(monitor, place(x, -depth / 2 + 0.17, height + 0.001, self._between(-0.08, 0.08)))
        keyboard = self._object("otherprop")
        keyboard.add(box((0.42, 0.13, 0.02)), dark)
        keyboard.add(mat(0.4, 0.11, (0, 0, 0.021)), self.materials.pick("spines"))
        desk.put(keyboard, place(self._between(-0.1, 0.1), depth / 2 - 0.2, height + 0.001, self._between(-0.1, 0.1)))
        things = self._object("otherprop")
        self.scatter(things, 0.3, depth * 0.9, height, 3)
        if things.parts:
            desk.put(things, place((width / 2 - 0.16) * self.random.choice((-1, 1)), 0, 0))
        chair = self.office_chair() if self.random.uniform() < 0.7 else self.chair()
        turn = place(
            self._between(-0.15, 0.15), depth / 2 + self._between(0.2, 0.45), 0, np.pi + self._between(-0.7, 0.7)
        )
        desk.put(chair, turn)
        return desk

    def bed(self) -> Object:
        """A bed with a headboard, mattress, blanket, pillows, and night stands with lamps."""
        bed = self._object("bed")
        width, length, level = (
            float(self.random.choice((0.9, 1.4, 1.6, 1.8))),
            self._between(1.95, 2.1),
            self._between(0.4, 0.55),
        )
        frame, sheet, blanket = (self.materials.pick(kind) for kind in ("wood", "cloth", "cloth"))
        bed.add(box((width, length, 0.14), (0, 0, level - 0.3)), frame)
        for x in (-1.0, 1.0):
            for y in (-1.0, 1.0):
                bed.add(box((0.07, 0.07, level - 0.2), (x * (width / 2 - 0.04), y * (length / 2 - 0.04), 0)), frame)
        head = self._between(0.3, 0.65)
        soft = self.random.uniform() < 0.4
        board = cushion((width, 0.07, level + head - 0.15), (0, -length / 2 - 0.035, 0.15), 0.03 if soft else 0.012)
        bed.add(board, self.materials.pick("sofa") if soft else frame)
        bed.add(cushion((width - 0.04, length - 0.04, 0.22), (0, 0, level - 0.2), 0.06), sheet)
        cover = length * self._between(0.55, 0.78)
        bed.add(
            cushion((width + 0.06, cover, 0.2), (0, (length - cover) / 2 + 0.03, level - 0.12), 0.07, 0.25), blanket
        )
        if self.random.uniform() < 0.5:
            fold = (0, length / 2 - cover + 0.15, level + 0.05)
            bed.add(cushion((width + 0.05, 0.3, 0.06), fold, 0.028), self.materials.pick("cloth"))
        pillows = 1 if width < 1.2 else 2
        for index in range(pillows):
            pillow = self._object("pillow")
            pillow.add(cushion((0.6, 0.4, 0.13), (0, 0, 0), 0.06, 0.6), self.materials.pick("cloth"))
            x = (index - (pillows - 1) / 2) * width / 2
            turn = place(x, -length / 2 + 0.28, level + 0.01, self._between(-0.15, 0.15))
            bed.put(pillow, turn)
        for x in (-1.0, 1.0):
            if self.random.uniform() < 0.7:
                stand = self.cabinet(
                    self._between(0.38, 0.5), self._between(0.35, 0.42), self._between(0.42, 0.6), "night_stand", 1
                )
                if self.random.uniform() < 0.4:
                    stand = self._with_lamp(stand)
                bed.put(stand, place(x * (width / 2 + 0.34), -length / 2 + 0.16, 0))
        return bed

    def _with_lamp(self, stand: Object) -> Object:
        if stand.instances == 1:  # with nothing on it yet
            stand.put(self.table_lamp(), place(0, 0, float(stand.bounds()[1, 2]) + 0.001))
        return stand

"""The example game is a game: keys alone find the key, open the gate and leave; and it can be lost."""

from __future__ import annotations

from tests.bevy_game.player import FEET, HERO, MONSTER, RULES, Player, pace
from tests.bevy_game.running import Game, wait_for


def test_it_is_won_by_keys_over_the_protocol(at_port: Game) -> None:
    speed = pace(at_port)
    player = Player(at_port, speed=speed)
    for _ in range(4):  # whoever falls plays again, as a person does
        if player.wins(seconds=90 / speed):
            break
        wait_for("the end of the lost game", lambda: "You fell" in player.line(), limit=30 / speed)
        player.press("Enter", 60)
        wait_for("the next game", lambda: player.look().hero)
    assert "You are free" in player.line()
    rules = at_port.client.call("world.get_resources", {"resource": RULES})["value"]
    assert rules["has_key"]
    assert rules["gate_open"]
    player.press("Enter", 60)
    wait_for("the next game", lambda: player.look().hero)


def test_a_hero_without_hearts_falls_and_the_game_says_so(at_port: Game) -> None:
    speed = pace(at_port)
    player = Player(at_port, speed=speed)
    call = at_port.client.call
    hero = call("world.query", {"data": {"components": [FEET]}, "filter": {"with": [HERO]}})[0]["entity"]
    call("world.mutate_components", {"entity": hero, "component": HERO, "path": ".health", "value": 1})
    at = call("world.query", {"data": {"components": [FEET]}, "filter": {"with": [MONSTER]}})[0]["components"][FEET]
    call("world.insert_components", {"entity": hero, "components": {FEET: at}})
    player.press("ArrowLeft", 60)  # monsters mind a hero who moves
    wait_for("the words at the end", lambda: "You fell" in player.line(), limit=30 / speed)
    player.press("Enter", 60)
    wait_for("the next game", lambda: player.look().hero)

"""Tabs of the page, in their order."""

from __future__ import annotations

from experiments.demo_page.attention_tab import ATTENTION_TAB
from experiments.demo_page.calibrate_tab import CALIBRATE_TAB
from experiments.demo_page.demo_state import Tab
from experiments.demo_page.map_tab import MAP_TAB
from experiments.demo_page.runs_tab import RUNS_TAB
from experiments.demo_page.search_tab import SEARCH_TAB
from experiments.demo_page.upload_tab import UPLOAD_TAB

TABS: tuple[Tab, ...] = (SEARCH_TAB, ATTENTION_TAB, CALIBRATE_TAB, MAP_TAB, RUNS_TAB, UPLOAD_TAB)

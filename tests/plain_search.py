"""A query answered over a plain list of stored records: what every index and every plan must agree with."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

import cv2
import numpy as np

from embmem.protocols import Ranking
from embmem.records import Frustum, Query

K1, B = 1.2, 0.75
_AT_REST = (np.zeros(3), np.zeros(3))


def plain_search(records: list[Any], query: Query, ranking: Ranking, depth: int = 200) -> list[int]:
    """Ids, best first, by the definition in `embmem.search.engine`."""
    passing = [record for record in records if _passes(record, records, query)]
    words = bm25(records, query.text) if query.text is not None else {}
    cosines = _cosines(records, query)
    if query.text is not None or query.embedding is not None:
        passing = [r for r in passing if r.id in words or r.id in cosines]
    scores = {
        "text": words if query.text is not None else None,
        "embedding": cosines if query.embedding is not None else None,
        "near": {r.id: -_distance(r, query) for r in passing} if query.near is not None else None,
        "graph": {i: -h for i, h in hops(records, query).items()} if query.linked_to is not None else None,
    }
    asked = {name: score for name, score in scores.items() if score is not None}
    newest = {r.id: r.t_event for r in passing}
    if not asked or ranking.weights.get("recency"):
        asked["recency"] = newest
    weights = dict.fromkeys(asked, 1.0) | ranking.weights
    confidence = {r.id: r.confidence for r in passing} if ranking.weights.get("confidence") else {}
    n = max(depth, 4 * query.k) if len(asked) + bool(confidence) > 1 else query.k
    ids = [r.id for r in passing]
    pool = {
        i for score in asked.values() for i in sorted((j for j in ids if j in score), key=lambda j: (-score[j], -j))[:n]
    }
    if confidence:
        asked["confidence"] = confidence
    total = dict.fromkeys(pool, 0.0)
    for name in sorted(asked):
        known = [asked[name][i] for i in pool if i in asked[name]]
        for i in pool & asked[name].keys():
            total[i] += weights[name] / (60 + 1 + sum(other > asked[name][i] for other in known))
    return sorted(pool, key=lambda i: (-total[i], -i))[: query.k]


def plain_read(records: list[Any], query: Query) -> list[int]:
    """Ids of what passes, newest first."""
    words = bm25(records, query.text) if query.text is not None else None
    passing = [r for r in records if _passes(r, records, query) and (words is None or r.id in words)]
    return [r.id for r in sorted(passing, key=lambda r: (-r.t_event, -r.id))][: query.k]


def bm25(records: list[Any], text: str) -> dict[int, float]:
    """Okapi BM25 (Robertson and Zaragoza, 2009) of words that are their own stems, by id."""
    documents = {r.id: " ".join([r.text, *r.entities, r.place or ""]).split() for r in records}
    documents = {i: document for i, document in documents.items() if document}
    scores: dict[int, float] = {}
    mean = sum(map(len, documents.values())) / max(len(documents), 1)
    for word in dict.fromkeys(re.findall(r"[^\W_]+", text.casefold())):
        counts = {i: Counter(document)[word] for i, document in documents.items() if word in document}
        weight = max(math.log((len(documents) - len(counts) + 0.5) / (len(counts) + 0.5)), 1e-6)
        for i, count in counts.items():
            length = K1 * (1 - B + B * len(documents[i]) / mean)
            scores[i] = scores.get(i, 0.0) + weight * ((count * (K1 + 1)) / (count + length))
    return scores


def hops(records: list[Any], query: Query) -> dict[int, int]:
    """Links away from `linked_to`."""
    known = [r for r in records if query.as_of is None or r.t_ingest <= query.as_of]
    edges = [(r.id, link.to) for r in known for link in r.links]
    found = {query.linked_to or 0: 0}
    for hop in range(1, query.hops + 1):
        edge = {b for pair in edges for a, b in (pair, pair[::-1]) if found.get(a) == hop - 1}
        found |= {i: hop for i in edge if i not in found}
    return found


def hidden(records: list[Any], as_of: float) -> set[int]:
    """What active withdrawals and corrections reach, latest decided first (no chains of corrections)."""
    gone: set[int] = set()
    known = [r for r in records if r.t_ingest <= as_of]
    for record in sorted(known, key=lambda r: -r.id):
        targets = {link.to for link in record.links if link.relation in ("withdraws", "corrects")}
        if targets and record.id not in gone:
            gone |= targets
    return gone


def _passes(record: Any, records: list[Any], query: Query) -> bool:
    as_of = np.inf if query.as_of is None else query.as_of
    where = record.where
    if any(getattr(query, name) not in (None, getattr(record, name)) for name in ("kind", "place", "source")):
        return False
    if query.near is not None or query.box is not None or query.frustum is not None:
        if where is None:
            return False
        if query.near is not None and query.radius < np.inf and ((where - query.near) ** 2).sum() > query.radius**2:
            return False
        if query.box is not None and not ((query.box[0] <= where) & (where <= query.box[1])).all():
            return False
        if query.frustum is not None and not _sees(query.frustum, where):
            return False
    return (
        (query.entity is None or query.entity in record.entities)
        and (query.key is None or query.key in record.keys)
        and query.since <= record.t_event < query.until
        and query.ingested_since <= record.t_ingest <= as_of
        and (query.valid_at is None or record.valid[0] <= query.valid_at < record.valid[1])
        and record.confidence >= query.min_confidence
        and (query.linked_to is None or record.id in hops(records, query))
        and (query.with_hidden or record.id not in hidden(records, as_of))
    )


def _sees(frustum: Frustum, where: np.ndarray) -> bool:
    x, y, z = np.linalg.solve(frustum.T_map_camera, [*where, 1.0])[:3]
    camera = frustum.intrinsics
    if not (z > 0 and frustum.near <= z <= frustum.far):
        return False
    u, v = cv2.projectPoints(np.array([[x, y, z]]), *_AT_REST, camera.matrix(), np.array(camera.distortion))[0].ravel()
    return bool(-0.5 <= u <= camera.width - 0.5 and -0.5 <= v <= camera.height - 0.5)


def _distance(record: Any, query: Query) -> float:
    return float(np.sqrt(((record.where - query.near) ** 2).sum()))


def _cosines(records: list[Any], query: Query) -> dict[int, float]:
    if query.embedding is None:
        return {}
    unit = query.embedding / np.linalg.norm(query.embedding)
    cosines = {}
    for record in records:
        if record.embedding is not None:
            own = record.embedding.astype(np.float64)
            cosines[record.id] = float(own @ unit / np.linalg.norm(own))
    return {i: cosine for i, cosine in cosines.items() if cosine >= query.min_similarity}

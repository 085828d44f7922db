"""A few plain web pages, so that a person can look at what the demo leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode

from flask import Flask, Response, abort, render_template_string, request

from tests.github_rendering import STYLE, shown
from tests.world.github.behaviour import mergeability, registering
from tests.world.github.errors import ApiError
from tests.world.github.records import Repository
from tests.world.github.state import State

LAYOUT: Final = """<!doctype html><html lang="en"><meta charset="utf-8">
<title>{{ title }}</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; }
  pre { background: #f6f8fa; overflow: auto; padding: 1rem; white-space: pre-wrap; }
  code { background: #f6f8fa; } small { color: #57606a; }
  {{ more|safe }}
</style>
<p><small><a href="/">local GitHub</a></small><h1>{{ title }}</h1>
"""

INDEX: Final = (
    LAYOUT
    + """<ul>{% for one in repositories %}
<li><a href="/{{ one.full_name }}">{{ one.full_name }}</a>{% endfor %}</ul>"""
)

REPOSITORY: Final = (
    LAYOUT
    + """<h2>Pull requests</h2><ul>{% for one in repository.pulls.values()|list %}
<li><a href="/{{ repository.full_name }}/pull/{{ one.number }}">#{{ one.number }}</a>
 {{ one.title }} <small>{{ "merged" if one.merged else one.state }}</small>{% endfor %}</ul>
<h2>Branches</h2><ul>{% for name, tip in branches.items() %}
<li><code>{{ name }}</code>
 <a href="/{{ repository.full_name }}/commit/{{ tip }}">{{ tip[:7] }}</a>{% endfor %}</ul>
<h2>Deployments</h2><ul>{% for one in repository.deployments.values()|list %}
<li>{{ one.environment }} <code>{{ one.commit[:7] }}</code>
 {{ one.statuses[-1].state if one.statuses }}{% endfor %}</ul>"""
)

PULL: Final = (
    LAYOUT
    + """<p>{{ "merged" if pull.merged else pull.state }}: <code>{{ pull.head_ref }}</code> into
<code>{{ pull.base_ref }}</code> by {{ pull.author.login }}
 {% for one in pull.labels %}<code>{{ one.name }}</code> {% endfor %}</p>
<article>{{ body|safe }}</article>
{% for one in pull.reviews %}<p>{{ one.author.login }}: {{ one.state }} {{ one.body }}</p>
{% endfor %}{% for one in pull.comments %}
<h3>{{ one.author.login }}</h3><pre>{{ one.body }}</pre>{% endfor %}
<h2>Checks</h2>{% include "runs" %}
<h2>Files</h2>{% for one in changes %}
<h3>{{ one.path }}</h3><pre>{{ one.patch or "" }}</pre>{% endfor %}"""
)

RUNS: Final = """{% for one in runs %}<h3>{{ one.name }}: {{ one.conclusion or one.status }}</h3>
<p>{{ one.output.get("title") or "" }}</p><pre>{{ one.output.get("summary") or "" }}</pre>
{% endfor %}"""

COMMIT: Final = (
    LAYOUT
    + """<p>{{ commit.author.name }} <small>{{ commit.author.date }}</small></p>
<pre>{{ commit.message }}</pre><h2>Checks</h2>{% include "runs" %}
<h2>Files</h2>{% for one in changes %}
<h3>{{ one.path }}</h3><pre>{{ one.patch or "" }}</pre>{% endfor %}"""
)


def add_pages(application: Flask, state: Callable[[], State]) -> None:
    """Give the application its pages; they show everything of a state to everybody."""

    def repository(owner: str, name: str) -> Repository:
        try:
            return state().repository(f"{owner}/{name}")
        except ApiError:
            abort(404)

    @application.post("/settings/apps/new")
    @application.post("/organizations/<owner>/settings/apps/new")
    def new_app(owner: str = "ghost") -> Response:
        """Register an App from a manifest, as if a person had pressed the button."""
        here = state()
        account = here.account(owner)
        manifest = json.loads(request.form["manifest"])
        with here.lock:
            code = registering.register_from_manifest(here, account, manifest)
        answer = urlencode({"code": code, "state": request.args.get("state", "")})
        return Response(status=302, headers={"Location": f"{manifest['redirect_url']}?{answer}"})

    @application.get("/")
    def index() -> Response:
        return _page(INDEX, title="Repositories", repositories=list(state().repositories.values()))

    @application.get("/<owner>/<name>")
    def one_repository(owner: str, name: str) -> Response:
        found = repository(owner, name)
        heads = found.git.refs("refs/heads/").items()
        branches = {ref.removeprefix("refs/heads/"): tip for ref, tip in heads}
        return _page(REPOSITORY, title=found.full_name, repository=found, branches=branches)

    @application.get("/<owner>/<name>/pull/<int:number>")
    def one_pull(owner: str, name: str, number: int) -> Response:
        found = repository(owner, name)
        pull = found.pulls.get(number) or abort(404)
        changes = found.git.difference(mergeability.merge_base_of(pull), pull.head)
        title = f"{pull.title} #{number}"
        return _page(
            PULL,
            title=title,
            pull=pull,
            changes=changes,
            runs=_runs(found, pull.head),
            body=shown(pull.body or ""),
            more=STYLE,
        )

    @application.get("/<owner>/<name>/commit/<commit_id>")
    def one_commit(owner: str, name: str, commit_id: str) -> Response:
        found = repository(owner, name)
        if found.git.type_of(commit_id) != "commit":
            abort(404)
        commit = found.git.commit(commit_id)
        changes = found.git.difference(commit.parents[0], commit.id) if commit.parents else []
        return _page(
            COMMIT,
            title=commit_id[:7],
            commit=commit,
            changes=changes,
            runs=_runs(found, commit_id),
        )


def _runs(repository: Repository, commit: str) -> list[object]:
    newest = {r.name: r for r in repository.check_runs.values() if r.commit == commit}
    return list(newest.values())


def _page(template: str, **context: object) -> Response:
    whole = template.replace('{% include "runs" %}', RUNS)
    return Response(render_template_string(whole, **context), mimetype="text/html")

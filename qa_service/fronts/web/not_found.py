"""The page for an unknown address: the error, and links to similar addresses."""

from difflib import get_close_matches

from qa_service.answering.service import Service
from qa_service.errors import NumstabError, UnknownEntry, UnknownExperiment
from qa_service.fronts.web import labels, render
from qa_service.model import Lang


def not_found_html(service: Service, path: str, error: NumstabError, lang: Lang) -> str:
    """The HTML of the page in one language, with links to at most five similar entries or experiments."""
    _, folder, name, *_ = f"{path}//".split("/")
    here = "/experiments" if folder == "experiments" else "/entries"
    titles = (
        {slug: one.title[lang] for slug, one in service.knowledge.experiments.items()}
        if here == "/experiments"
        else {one.id: one.question[lang] for one in service.knowledge.library.values()}
    )
    similar = [name] if name in titles else get_close_matches(name, titles, n=5, cutoff=0.4)
    unknown: dict[type, str] = {UnknownEntry: "no_entry", UnknownExperiment: "no_experiment"}
    label = unknown.get(type(error))
    sentence = labels.LABELS[label][lang].format(name) if label else error[lang]
    links = [(f"{here}/{one}?lang={lang}", titles[one]) for one in similar]
    return render.render_page("problem.html", lang, here=here, similar=links, messages={lang: sentence})

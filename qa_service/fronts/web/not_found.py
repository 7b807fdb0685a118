"""The page for an address that is wrong: what is wrong with it, and what it may have meant."""

from difflib import get_close_matches

from qa_service.answering.service import Service
from qa_service.errors import NumstabError, UnknownEntry, UnknownExperiment
from qa_service.fronts.web import labels, render
from qa_service.model import Lang


def not_found_page(service: Service, path: str, error: NumstabError, lang: Lang) -> str:
    """In the reader's language, with links to the nearest that there is."""
    _, folder, name, *_ = f"{path}//".split("/")
    here = "/experiments" if folder == "experiments" else "/entries"
    titles = (
        {slug: one.title[lang] for slug, one in service.lab.experiments.items()}
        if here == "/experiments"
        else {one.id: one.question[lang] for one in service.library.values()}
    )
    near = [name] if name in titles else get_close_matches(name, titles, n=5, cutoff=0.4)
    unknown: dict[type, str] = {UnknownEntry: "no_entry", UnknownExperiment: "no_experiment"}
    words = unknown.get(type(error))
    sentence = labels.LABELS[words][lang].format(name) if words else error[lang]
    links = [(f"{here}/{one}?lang={lang}", titles[one]) for one in near]
    return render.render_page("problem.html", lang, here=here, near=links, said={lang: sentence})

"""The fronts, each a way to use the service: every module here is one. `app` finds and assembles them.

A front has one or more of these functions at module level:

`add_commands(parsers)`
    Adds commands to the command line (argparse subparsers).
`router(service, settings) -> APIRouter`
    HTTP routes.
`mounts(service, settings) -> Mapping[str, ASGIApp]`
    Whole ASGI applications, each under its path, such as {"/mcp": ...}.
`lifespan(service, settings) -> AbstractAsyncContextManager[Mapping[str, Any] | None]`
    Entered when the server starts and left when it stops: threads, connections and subscriptions begin and end here,
    never in the other functions. What it yields becomes part of every request's state.
`error_formats(service, settings) -> Mapping[str, Callable[[ProblemJson], tuple[int, Body]]]`
    Beginning of paths → how errors are written there, where a protocol has a form of its own.
`not_found_page(service) -> Callable[[Request, NumstabError], Response]`
    The page that a browser gets at an address where there is nothing; one front may have it.
`prepare(settings)`
    Builds what is built once; called by `numstab prepare`.
`checks(settings) -> list[DoctorCheck]`
    Checks of the installation for `numstab doctor`.

A front imports what is heavy (the web framework, rich) inside the function that needs it: a command in the
terminal must not wait for the imports of other fronts.
"""

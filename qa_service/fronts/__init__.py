"""The fronts, each a way to use the service: every module here is one. `app` finds and assembles them.

A front has one or more of these functions at module level:

`add_commands(parsers)`
    Adds commands to the command line (argparse subparsers).
`router(service, settings) -> APIRouter`
    HTTP routes.
`mounts(service, settings) -> Mapping[str, ASGIApp]`
    ASGI applications by the path at which they are mounted, such as {"/mcp": ...}.
`lifespan(service, settings) -> AbstractAsyncContextManager[Mapping[str, Any] | None]`
    Entered when the server starts and left when it stops: threads, connections and subscriptions begin and end here,
    never in the other functions. What it yields becomes part of every request's state.
`error_formats(service, settings) -> Mapping[str, Callable[[ProblemJson], tuple[int, Body]]]`
    Path prefix → a converter of errors, for a protocol that has its own format of errors.
`not_found_page(service) -> Callable[[Request, NumstabError], Response]`
    The page for browsers at an unknown address (404); only one front may have it.
`prepare(settings)`
    Builds caches; called by `numstab prepare`.
`checks(settings) -> list[DoctorCheck]`
    Checks of the installation for `numstab doctor`.

A front imports large packages (the web framework, rich) inside the functions that need them, so that a command in the
terminal does not wait for the imports of other fronts.
"""

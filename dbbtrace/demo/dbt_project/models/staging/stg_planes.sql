select tailnum, year as built_in, manufacturer, model, engine, seats
from {{ source("raw", "planes") }}

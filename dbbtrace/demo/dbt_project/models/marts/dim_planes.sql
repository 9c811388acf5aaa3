select tailnum, built_in, manufacturer, model, engine, seats
from {{ ref("planes_history") }}
where dbt_valid_to is null
